"""Scores of embeddings, in float32 (or wider) whatever the model's precision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tasks.models.losses.settings import Similarity


def wide(values: Tensor) -> Tensor:
    """The values as float32, or float64 where they are that already."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _comparable(embeddings: Tensor, kind: Similarity) -> Tensor:
    embeddings = wide(embeddings)
    return torch.nn.functional.normalize(embeddings, dim=-1) if kind == "cosine" else embeddings


def score_matrix(queries: Tensor, documents: Tensor, kind: Similarity) -> Tensor:
    """Similarity of each query with each document; higher is more similar.

    Args:
        queries: shape (q, dimension).
        documents: shape (n, dimension).
        kind: cosine or dot product.

    Returns:
        float32, shape (q, n).
    """
    with torch.autocast(queries.device.type, enabled=False):
        return _comparable(queries, kind) @ _comparable(documents, kind).T


def score_pairs(queries: Tensor, documents: Tensor, kind: Similarity) -> Tensor:
    """Similarity along the last axis; leading axes are broadcast. Shape: theirs without the last."""
    with torch.autocast(queries.device.type, enabled=False):
        return (_comparable(queries, kind) * _comparable(documents, kind)).sum(-1)


def score_lists(embeddings: Sequence[Tensor], kind: Similarity) -> Tensor:
    """Similarity of each row's query with the row's own documents.

    Args:
        embeddings: the query's column, then c document columns, each of shape (rows, dimension).
        kind: cosine or dot product.

    Returns:
        float32, shape (rows, c).
    """
    return score_pairs(embeddings[0][:, None, :], torch.stack(list(embeddings[1:]), dim=1), kind)


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of the valid values, a scalar; 0, with zero gradients, where none is valid."""
    return torch.where(valid, values, torch.zeros_like(values)).sum() / valid.sum().clamp(min=1)
