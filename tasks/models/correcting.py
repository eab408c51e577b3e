"""What the noisy-pair corrector needs of the training loop: perplexities at the start of each pass, a step of the average."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers import TrainerCallback

from tasks.models.losses.noisy_pairs import NoisyPairCorrectorLoss, perplexity
from tasks.models.losses.similarity import score_pairs
from tasks.models.samples import Samples

_RANDOM = 64  # documents that a positive is compared with
_AT_ONCE = 256


def corrections(
    loss: torch.nn.Module, model: SentenceTransformer, samples: Samples, prompts: tuple[str, str], starts: Set[int], seed: int
) -> list[TrainerCallback]:
    """The callback that a noisy-pair loss needs; nothing for other losses."""
    return [_Correct(loss, model, samples, prompts, starts, seed)] if isinstance(loss, NoisyPairCorrectorLoss) else []


class _Correct(TrainerCallback):  # type: ignore[misc]
    def __init__(
        self,
        loss: NoisyPairCorrectorLoss,
        model: SentenceTransformer,
        samples: Samples,
        prompts: tuple[str, str],
        starts: Set[int],
        seed: int,
    ) -> None:
        self._loss, self._model, self._samples, self._prompts, self._starts, self._seed = loss, model, samples, prompts, starts, seed

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step in self._starts:
            self._loss.refit(self._perplexities(state.global_step))
            self._model.train()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._loss.step()

    def _perplexities(self, step: int) -> NDArray[np.float32]:
        """Of every row's positive among random other documents of the training rows, shape (r,)."""
        samples, settings = self._samples, self._loss.settings
        queries = self._embed(samples.query_texts, self._prompts[0])
        documents = self._embed(samples.document_texts, self._prompts[1])
        generator = np.random.Generator(np.random.PCG64([self._seed, 2, step]))
        found = []
        for first in range(0, len(samples), _AT_ONCE):
            rows = np.arange(first, min(first + _AT_ONCE, len(samples)))
            drawn = generator.integers(len(samples.document_texts), size=(len(rows), _RANDOM))
            own = samples.documents[rows, 0]
            anchors = queries[samples.queries[rows]]
            positive = score_pairs(anchors, documents[own], settings.similarity) * settings.scale
            others = score_pairs(anchors[:, None], documents[drawn], settings.similarity) * settings.scale
            same = torch.from_numpy(drawn == own[:, None]).to(others.device)
            found.append(perplexity(positive, others.masked_fill(same, -torch.inf)).float().cpu().numpy())
        return np.concatenate(found)

    def _embed(self, texts: Sequence[str], prompt: str) -> torch.Tensor:
        made: torch.Tensor = self._model.encode(
            list(texts), prompt=prompt or None, convert_to_tensor=True, show_progress_bar=False, batch_size=64
        )
        return made
