"""ADORE and LTRe: only the query encoder learns, from what a frozen index gives for its queries at each step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tasks.errors import ModelError
from tasks.models.losses.base import EmbeddingLoss, Features
from tasks.models.losses.pairwise import rank_weighted_pairwise
from tasks.models.losses.settings import LiveRetrievalSettings, Similarity
from tasks.models.losses.similarity import score_matrix, score_pairs
from tasks.models.losses.tables import Rows


def top_k(queries: Tensor, documents: Tensor, k: int, *, kind: Similarity = "dot", block_size: int = 65_536) -> tuple[Tensor, Tensor]:
    """Exact search, block by block; without gradients.

    Args:
        queries: shape (b, dimension).
        documents: shape (n, dimension); blocks are moved to the queries' device.
        k: at most n are found.
        kind: cosine or dot product.
        block_size: documents that are scored at a time.

    Returns:
        (scores, places), float32 and int64, shape (b, min(k, n)), best first, equal scores by place (which of those that
        tie at the end of the list get in is not said).
    """
    scores = torch.empty(len(queries), 0, device=queries.device)
    places = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)
    with torch.no_grad():
        for start in range(0, len(documents), block_size):
            block = documents[start : start + block_size].to(queries.device)
            found, where = score_matrix(queries, block, kind).topk(min(k, len(block)), dim=1)
            scores, places = torch.cat([scores, found], dim=1), torch.cat([places, where + start], dim=1)
            scores, places = _best(scores, places, k)
    return scores, places


def _best(scores: Tensor, places: Tensor, k: int) -> tuple[Tensor, Tensor]:
    order = places.argsort(dim=1, stable=True)
    order = order.gather(1, scores.gather(1, order).argsort(dim=1, descending=True, stable=True))[:, :k]
    return scores.gather(1, order), places.gather(1, order)


def with_positive(places: Tensor, relevant: Tensor, positives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Retrieved lists with the row's positive behind them where none of them is relevant.

    Source: ADORE's code appends all positives of the query [V]; here a row is one of its positives.

    Args:
        places: retrieved documents, shape (b, k).
        relevant: which of them are relevant, bool, shape (b, k).
        positives: the row's positive, shape (b,).

    Returns:
        (documents, relevant, valid), each of shape (b, k + 1); ranks are their places.
    """
    missing = ~relevant.any(dim=1, keepdim=True)
    valid = torch.cat([torch.ones_like(relevant), missing], dim=1)
    return torch.cat([places, positives[:, None]], dim=1), torch.cat([relevant, missing], dim=1), valid


class LiveRetrievalLoss(EmbeddingLoss):
    """Rank-weighted pairwise loss over the frozen index's answer to the current queries; a mean over the queries.

    Only the first column is embedded. Suspected relevant documents take no part. A document's code in ``rows`` is its
    place in ``vectors`` (:meth:`Rows.from_ids` with ``documents``).

    Args:
        model: encodes queries.
        settings: top_k, weighted, metric_cut, scale, block_size.
        rows: queries, their positives, suspected pairs.
        vectors: embeddings of all documents, float32 or float16, shape (n, dimension).
    """

    def __init__(self, model: nn.Module, settings: LiveRetrievalSettings, rows: Rows, vectors: Tensor) -> None:
        super().__init__(model, settings, rows)
        if len(vectors) != rows.positives.stride:
            raise ModelError(
                f"the index has {len(vectors)} vectors, the rows know {rows.positives.stride} documents",
                "make the rows with documents= the ids of the vectors, in their order",
            )
        self.vectors = vectors

    def forward(self, sentence_features: Features, labels: Tensor) -> Tensor:
        """The loss of a batch."""
        return self.loss_of_queries(self.model(next(iter(sentence_features)))["sentence_embedding"], labels)

    def loss_of_queries(self, queries: Tensor, labels: Tensor) -> Tensor:
        """The same from the queries' embeddings, shape (b, dimension)."""
        settings, codes = self.settings, self.rows.queries[labels]
        _, places = top_k(queries.detach(), self.vectors, settings.top_k, kind=settings.similarity, block_size=settings.block_size)
        relevant = self.rows.positives.contains(codes, places)
        suspected = self.rows.suspected.contains(codes, places) & ~relevant
        documents, relevant, valid = with_positive(places, relevant, self.rows.documents[labels, 0])
        valid[:, :-1] &= ~suspected
        listed = self.vectors[documents.to(self.vectors.device)].to(queries.device)
        scores = score_pairs(queries[:, None, :], listed, settings.similarity) * settings.scale
        return rank_weighted_pairwise(
            scores,
            relevant.to(scores.dtype),
            valid,
            ranks=torch.arange(1, documents.shape[1] + 1, device=queries.device).expand_as(documents),
            weighted=settings.weighted,
            metric_cut=settings.metric_cut,
            reduction="queries",
        )
