"""Losses on pairs of documents of one list: rank-weighted (CL-DRD, ADORE, LTRe) and with a lexical margin (RANCE)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from tasks.models.losses.base import EmbeddingLoss
from tasks.models.losses.similarity import masked_mean, score_lists


def ranks_of(scores: Tensor, valid: Tensor) -> Tensor:
    """Rank of each document in its list, from 1, best first; equal scores in the order given, invalid ones last. int64, (b, n)."""
    order = scores.detach().masked_fill(~valid, -torch.inf).argsort(dim=1, descending=True, stable=True)
    places = torch.arange(1, scores.shape[1] + 1, device=scores.device).expand_as(order)
    return torch.empty_like(order).scatter(1, order, places)


def rank_weighted_pairwise(
    scores: Tensor,
    relevance: Tensor,
    valid: Tensor | None = None,
    *,
    ranks: Tensor | None = None,
    weighted: bool = True,
    metric_cut: int | None = None,
    reduction: Literal["pairs", "queries"] = "pairs",
) -> Tensor:
    """Mean of log(1 + e^{−(s_i − s_j)}) · |1/r_i − 1/r_j| over the pairs of a list where i is more relevant than j.

    Source: CL-DRD's lambda_mrr_loss, mean over pairs [V]; ADORE: mean over queries, metric_cut [V], the pair's loss by the
    paper (in the public code, as read, e^{s_i − s_j} stands for both orders of a pair); LTRe: no weight [T].

    Args:
        scores: with gradients, shape (b, n).
        relevance: labels, shape (b, n).
        valid: False: no document, bool, shape (b, n); NaN labels are not valid either.
        ranks: r, int64, shape (b, n); by default those by score.
        weighted: with the reciprocal ranks' difference.
        metric_cut: 1/r counts as 0 beyond this rank.
        reduction: mean over all pairs, or the mean over queries (that have pairs) of their pairs' mean.

    Returns:
        A scalar.
    """
    valid = relevance.isfinite() if valid is None else valid & relevance.isfinite()
    losses = torch.nn.functional.softplus(scores[:, None, :] - scores[:, :, None])
    pairs = (relevance[:, :, None] > relevance[:, None, :]) & valid[:, :, None] & valid[:, None, :]
    if weighted:
        ranks = ranks_of(scores, valid) if ranks is None else ranks
        gain = 1.0 / ranks.to(losses.dtype)
        if metric_cut is not None:
            gain = gain.masked_fill(ranks > metric_cut, 0.0)
        losses = losses * (gain[:, :, None] - gain[:, None, :]).abs()
    if reduction == "pairs":
        return masked_mean(losses, pairs)
    count = pairs.sum(dim=(1, 2))
    means = torch.where(pairs, losses, torch.zeros_like(losses)).sum(dim=(1, 2)) / count.clamp(min=1)
    return masked_mean(means, count > 0)


def lexical_margin(
    positive: Tensor,
    negative: Tensor,
    lexical_positive: Tensor,
    lexical_negative: Tensor,
    *,
    margin: float = 1.0,
    lexical_weight: float = 0.1,
) -> Tensor:
    """Mean of relu(margin − lexical_weight · (bm25⁺ − bm25⁻) − (s⁺ − s⁻)) over the pairs with both BM25 scores: a scalar.

    The surer BM25 is of the pair, the smaller the margin that the retriever must keep. Source: RANCE [V].
    All arguments are broadcast against each other, as (b, 1) against (b, c). NaN: the score is not known, as BM25 did not retrieve the
    document (deeper, or it shares no term with the query); such a pair takes no part.
    """
    lexical = (lexical_positive - lexical_negative).detach()
    valid = lexical.isfinite()
    eased = margin - lexical_weight * torch.where(valid, lexical, torch.zeros_like(lexical))
    losses = torch.relu(eased - (positive - negative))
    return masked_mean(losses, valid.expand_as(losses))


class RankWeightedLoss(EmbeddingLoss):
    """:func:`rank_weighted_pairwise` over each row's own documents, from ``Rows``' ``label``."""

    def parts(self, embeddings: Sequence[Tensor], labels: Tensor, size: int) -> Iterator[Tensor]:
        """The whole loss."""
        settings = self.settings
        scores = score_lists(embeddings, settings.similarity) * settings.scale
        relevance = self.rows.value("label", labels)
        valid = self.rows.documents[labels] >= 0
        yield rank_weighted_pairwise(scores, relevance, valid, weighted=settings.weighted, reduction=settings.reduction)


class LexicalMarginLoss(EmbeddingLoss):
    """:func:`lexical_margin` of each row's positive against its negatives, from ``Rows``' ``lexical``."""

    def parts(self, embeddings: Sequence[Tensor], labels: Tensor, size: int) -> Iterator[Tensor]:
        """The whole loss."""
        settings = self.settings
        scores = score_lists(embeddings, settings.similarity) * settings.scale
        lexical = self.rows.value("lexical", labels)
        yield lexical_margin(
            scores[:, :1], scores[:, 1:], lexical[:, :1], lexical[:, 1:], margin=settings.margin, lexical_weight=settings.lexical_weight
        )
