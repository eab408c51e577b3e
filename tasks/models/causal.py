"""A causal language model as a teacher: the logit of "yes" less that of "no" after a prompt with query and document.

As monoT5 and the rerankers made from chat models score (Nogueira et al. 2020, Sun et al. 2023); the difference of the two logits is the
log-odds of yes among both answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tasks.models.causal_prompt import CausalPrompt, check_answer


class _Cut(NamedTuple):
    """What a tokenizer's encoding says of truncation."""

    overflowing: bool


class _Made(dict[str, Any]):
    """Token ids as a tokenizer gives them, with what was cut off."""

    encodings: list[_Cut]


class CausalReranker(nn.Module):  # type: ignore[misc]
    """A causal language model behind a cross-encoder's face.

    Args:
        folder: of the model.
        arguments: for loading it, as sentence-transformers takes them.
        prompt: what :func:`tasks.models.causal_prompt.resolved` gives.
        name: of the model, for errors.

    Raises:
        ModelError: yes or no is not one token of the model's, or its chat template cannot be used.
    """

    def __init__(self, folder: str, arguments: dict[str, Any], prompt: dict[str, str], name: str) -> None:
        super().__init__()
        from transformers import AutoModelForCausalLM, AutoTokenizer

        shared = {"trust_remote_code": arguments["trust_remote_code"], "local_files_only": True}
        self.tokenizer = AutoTokenizer.from_pretrained(folder, **shared)
        self.model = AutoModelForCausalLM.from_pretrained(folder, **shared, **arguments["model_kwargs"]).to(arguments["device"])
        self.config = self.model.config
        self.max_seq_length = 0
        self._prompt = CausalPrompt(self.tokenizer, prompt, name)
        self._answers = [self._token(prompt[answer], answer, name) for answer in ("yes", "no")]

    def __getitem__(self, place: int) -> CausalReranker:
        """Itself, as the first of its modules."""
        return self

    def preprocess(self, pairs: Sequence[tuple[str, str]], prompt: str | None = None, processing_kwargs: Any = None) -> _Made:
        """Token ids of each pair's prompt; of a pair that is too long the longer side is cut, the prompt itself stays.

        Args:
            pairs: (query, document).
            prompt: put before each query.
            processing_kwargs: for the sake of sentence-transformers' signature.

        Raises:
            ModelError: the prompt alone has as many tokens as the model is given.
        """
        made = self._prompt.ids([((prompt or "") + query, document) for query, document in pairs], self.max_seq_length)
        found = _Made(input_ids=[ids for ids, _ in made], attention_mask=[[1] * len(ids) for ids, _ in made])
        found.encodings = [_Cut(is_cut) for _, is_cut in made]
        return found

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """``scores``, shape (rows,): yes less no after the last token of each row, wherever its padding is."""
        mask = features["attention_mask"]
        places = (mask.cumsum(dim=1) - 1).clamp(min=0)
        logits = self.model(input_ids=features["input_ids"], attention_mask=mask, position_ids=places).logits
        last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
        chosen = logits[torch.arange(len(mask), device=mask.device), last].float()
        return {"scores": chosen[:, self._answers[0]] - chosen[:, self._answers[1]]}

    def _token(self, text: str, answer: str, name: str) -> int:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        check_answer(answer, text, len(ids), ids == [self.tokenizer.unk_token_id], name)
        return ids[0]
