"""Noisy-pair corrector: find pairs whose positive is probably wrong, and let a moving-average model speak for them.

Source: NPC, Zhang et al., arXiv 2311.03798 [P]. It finds wrong positives, not wrong negatives.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers.base.losses.merged_forward import embed_columns
from torch import Tensor, nn

from tasks.models.losses.base import EmbeddingLoss, Features
from tasks.models.losses.contrastive import masked_softmax
from tasks.models.losses.settings import NoisyPairCorrectorSettings
from tasks.models.losses.similarity import score_matrix
from tasks.models.losses.tables import Rows


def perplexity(positive: Tensor, negatives: Tensor) -> Tensor:
    """How surprising a row's positive is among random documents: −log softmax of its score (the logarithm of the perplexity proper).

    Args:
        positive: scaled s(q, d⁺), shape (b,).
        negatives: scaled s(q, d) of random documents, shape (b, m).

    Returns:
        At least 0, shape (b,).
    """
    return -torch.cat([positive[:, None], negatives], dim=1).log_softmax(dim=1)[:, 0]


def clean_probability(perplexities: NDArray[np.floating], seed: int = 0) -> NDArray[np.float64]:
    """Probability of each pair to belong to the less surprising of two Gaussians, fitted to all pairs' perplexities.

    Args:
        perplexities: finite, shape (n,).
        seed: of the fit's start.

    Returns:
        Shape (n,); all 1 where there are fewer than two different values.
    """
    from sklearn.mixture import GaussianMixture

    values = np.asarray(perplexities, dtype=np.float64).reshape(-1, 1)
    if len(np.unique(values)) < 2:
        return np.ones(len(values))
    mixture = GaussianMixture(n_components=2, random_state=seed).fit(values)
    found: NDArray[np.float64] = mixture.predict_proba(values)[:, int(np.argmin(mixture.means_[:, 0]))]
    return found


def move_average(average: nn.Module, model: nn.Module, momentum: float) -> None:
    """θ* ← momentum · θ* + (1 − momentum) · θ for all parameters; buffers are copied."""
    with torch.no_grad():
        for old, new in zip(average.parameters(), model.parameters(), strict=True):
            old.lerp_(new.detach().to(old.dtype), 1 - momentum)
        for old, new in zip(average.buffers(), model.buffers(), strict=True):
            old.copy_(new)


def corrected(student: Tensor, average: Tensor, positives: Tensor, mask: Tensor, clean: Tensor, *, consistency: float = 1.0) -> Tensor:
    """Each row's clean · (−log p⁺) + consistency · KL(average ‖ student), shape (b,): a noisy pair gets only the divergence.

    Args:
        student: scaled scores with gradients, shape (b, n).
        average: the moving-average model's, shape (b, n).
        positives: place of each row's positive, int64, shape (b,).
        mask: True: no candidate for the softmax, bool, shape (b, n); the divergence is over all documents.
        clean: False: the pair is noisy, bool, shape (b,).
        consistency: weight of the divergence.
    """
    target = average.detach().log_softmax(dim=1)
    divergence = (target.exp() * (target - student.log_softmax(dim=1))).sum(1)
    return clean * masked_softmax(student, positives, mask) + consistency * divergence


class NoisyPairCorrectorLoss(EmbeddingLoss):
    """:func:`corrected` over the documents of the batch, a mean over its rows.

    The training loop calls :meth:`refit` at the start of an epoch with all rows' perplexities, and :meth:`step` after
    each optimiser step. Until the first refit all pairs are clean.
    """

    clean: Tensor

    def __init__(self, model: nn.Module, settings: NoisyPairCorrectorSettings, rows: Rows) -> None:
        super().__init__(model, settings, rows)
        self.average = copy.deepcopy(model).requires_grad_(False)
        self.register_buffer("clean", torch.ones(len(rows.queries), dtype=torch.bool), persistent=False)

    def refit(self, perplexities: NDArray[np.floating]) -> int:
        """Flag pairs anew from the perplexities of all rows, shape (r,). Returns the number of noisy ones."""
        probability = clean_probability(perplexities, self.settings.seed)
        self.clean = torch.from_numpy(probability >= self.settings.threshold).to(self.clean.device)
        return int((~self.clean).sum())

    def step(self) -> None:
        """Move the average towards the model."""
        move_average(self.average, getattr(self.model, "module", self.model), self.settings.momentum)

    def state(self) -> dict[str, Any]:
        """What a training goes on from: the average, and which pairs are clean."""
        return {"average": self.average.state_dict(), "clean": self.clean}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state`."""
        self.average.load_state_dict(state["average"])
        self.clean = state["clean"].to(self.clean.device)

    def forward(self, sentence_features: Features, labels: Tensor) -> Tensor:
        """The loss of a batch: both models embed it."""
        features = [dict(column) for column in sentence_features]
        self.average.eval()
        with torch.no_grad():
            theirs = embed_columns(self.average, [dict(column) for column in features])
        return self._loss(embed_columns(self.model, features), theirs, labels)

    def _loss(self, ours: list[Tensor], theirs: list[Tensor], labels: Tensor) -> Tensor:
        settings = self.settings
        student, average = (
            score_matrix(columns[0], torch.cat(list(columns[1:])), settings.similarity) * settings.scale for columns in (ours, theirs)
        )
        codes = self.rows.columns(labels, len(ours) - 1)
        mask = self.rows.relevant(self.rows.queries[labels], codes) | (codes < 0)
        own = torch.arange(len(labels), device=labels.device)
        return corrected(student, average, own, mask, self.clean[labels], consistency=settings.consistency).mean()
