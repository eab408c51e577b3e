"""The in-batch softmax, with masks and weights; CCR's and PAIR's variants of it."""

from __future__ import annotations

import torch
from torch import Tensor

from tasks.models.losses.base import Candidates, InBatchLoss
from tasks.models.losses.similarity import score_matrix


def masked_log_softmax(scores: Tensor, positives: Tensor, mask: Tensor, log_weights: Tensor | None = None) -> Tensor:
    """Log-probability of each candidate of each row; a row's own positive is never masked and has weight 1.

    p_j = w_j e^{s_j} / Σ_k w_k e^{s_k}, k over the candidates that are not masked.

    Args:
        scores: scaled similarities, shape (b, n).
        positives: place of each row's positive, int64, shape (b,).
        mask: True: no candidate, bool, shape (b, n).
        log_weights: log w, shape (b, n); by default 0.

    Returns:
        Shape (b, n); -inf where masked or where the weight is 0.
    """
    place = positives[:, None]
    logits = scores if log_weights is None else scores + log_weights.scatter(1, place, 0.0)
    return logits.masked_fill(mask.scatter(1, place, False), -torch.inf).log_softmax(dim=1)


def masked_softmax(scores: Tensor, positives: Tensor, mask: Tensor, log_weights: Tensor | None = None) -> Tensor:
    """−log p⁺ of each row, shape (b,); arguments as in :func:`masked_log_softmax`."""
    return -masked_log_softmax(scores, positives, mask, log_weights).gather(1, positives[:, None])[:, 0]


def confidence_regularized(
    scores: Tensor, positives: Tensor, mask: Tensor, log_weights: Tensor | None = None, *, beta: float = 0.5
) -> Tensor:
    """−log p⁺ + beta · mean_j log p_j of each row, shape (b,); the mean is over all its candidates, the positive among them.

    Source: passage sieve, AAAI 2024 [V]. Arguments as in :func:`masked_log_softmax`.
    """
    log_p = masked_log_softmax(scores, positives, mask, log_weights)
    candidate = log_p > -torch.inf
    mean = log_p.masked_fill(~candidate, 0.0).sum(1) / candidate.sum(1)
    return beta * mean - log_p.gather(1, positives[:, None])[:, 0]


def passage_centric(
    query_scores: Tensor,
    passage_scores: Tensor,
    positives: Tensor,
    mask: Tensor,
    log_weights: Tensor | None = None,
    *,
    alpha: float = 0.1,
) -> Tensor:
    """(1 − alpha) · L_query + alpha · L_passage of each row, shape (b,).

    L_query is the softmax of s(q, p⁺) against s(q, p⁻); L_passage that of s(q, p⁺) against s(p⁺, p⁻).
    Source: PAIR, ACL Findings 2021 [V].

    Args:
        query_scores: scaled s(q, p), shape (b, n).
        passage_scores: scaled s(p⁺, p), shape (b, n); at the positive's own place it is not read.
        positives: as in :func:`masked_log_softmax`, and so are the next two.
        mask: the same candidates for both parts.
        log_weights: the same weights for both parts.
        alpha: the passage-centric part's weight.
    """
    place = positives[:, None]
    seen_from_positive = passage_scores.scatter(1, place, query_scores.gather(1, place))
    of_query = masked_softmax(query_scores, positives, mask, log_weights)
    return (1 - alpha) * of_query + alpha * masked_softmax(seen_from_positive, positives, mask, log_weights)


class MaskedMultipleNegativesRankingLoss(InBatchLoss):
    """In-batch softmax without the documents that are, or probably are, relevant to a row's query.

    A column is left out for a row if its document is a known or suspected relevant one of the row's query, is the row's
    own positive again, or is missing. A row's own negatives have the weights of ``Rows``' ``weight``, others 1.
    """

    def row_losses(self, batch: Candidates) -> Tensor:
        """−log p⁺ of each row."""
        scores = score_matrix(batch.queries, batch.documents, self.settings.similarity) * self.settings.scale
        return masked_softmax(scores, batch.positives, batch.mask, batch.log_weights)


class ConfidenceRegularizedLoss(InBatchLoss):
    """CCR over the documents of the batch, masked as in :class:`MaskedMultipleNegativesRankingLoss`."""

    def row_losses(self, batch: Candidates) -> Tensor:
        """−log p⁺ + beta · mean log p of each row."""
        scores = score_matrix(batch.queries, batch.documents, self.settings.similarity) * self.settings.scale
        return confidence_regularized(scores, batch.positives, batch.mask, batch.log_weights, beta=self.settings.beta)


class PassageCentricLoss(InBatchLoss):
    """PAIR over the documents of the batch, masked as in :class:`MaskedMultipleNegativesRankingLoss`."""

    def row_losses(self, batch: Candidates) -> Tensor:
        """(1 − alpha) · L_query + alpha · L_passage of each row."""
        kind, scale = self.settings.similarity, self.settings.scale
        of_queries = score_matrix(batch.queries, batch.documents, kind) * scale
        of_positives = score_matrix(batch.documents[batch.positives], batch.documents, kind) * scale
        return passage_centric(of_queries, of_positives, batch.positives, batch.mask, batch.log_weights, alpha=self.settings.alpha)
