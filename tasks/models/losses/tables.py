"""What a loss knows of the rows that it is given: ids as int64 codes, pairs to leave out, the teacher's scores.

sentence-transformers hands a loss the tokenised columns and one ``labels`` tensor. Here the label of a sample is its
row number in the training file (a column ``label``: 0, 1, 2, …), and the loss looks the rest up in :class:`Rows`.
All are buffers: they move with the loss to its device and stay out of its state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks.errors import InputError, ModelError

Ids = Sequence[str] | NDArray[np.object_]
Pairs = tuple[Ids, Ids]
Codes = NDArray[np.int64]
Slots = NDArray[np.float32]

NO_DOCUMENT = -1
_NO_PAIRS: Pairs = ((), ())


class PairTable(nn.Module):  # type: ignore[misc]
    """A set of (query, document) pairs.

    Args:
        queries: codes, shape (n,).
        documents: codes from 0 to below ``stride``, shape (n,).
        stride: number of documents.
    """

    def __init__(self, queries: Codes, documents: Codes, stride: int) -> None:
        super().__init__()
        self.stride = stride
        keys, self._first = np.unique(queries.astype(np.int64) * stride + documents, return_index=True)
        self.register_buffer("pairs", torch.from_numpy(keys), persistent=False)

    def _find(self, queries: Tensor, documents: Tensor) -> tuple[Tensor, Tensor]:
        """Place of each pair and whether it is there; both of shape (b, n)."""
        wanted = queries[:, None] * self.stride + documents
        if len(self.pairs) == 0:
            return torch.zeros_like(wanted), torch.zeros_like(wanted, dtype=torch.bool)
        place = torch.searchsorted(self.pairs, wanted).clamp(max=len(self.pairs) - 1)
        return place, (self.pairs[place] == wanted) & (documents >= 0)

    def contains(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Whether pairs are in the set.

        Args:
            queries: int64, shape (b,).
            documents: int64, shape (n,) for all pairs or (b, n) for each query's own; negative: no document.

        Returns:
            bool, shape (b, n).
        """
        return self._find(queries, documents)[1]


class PairScores(PairTable):
    """A score for each of some (query, document) pairs; of equal pairs the first counts.

    Args:
        queries: codes, shape (n,).
        documents: codes, shape (n,).
        scores: float32, shape (n,).
        stride: number of documents.
    """

    def __init__(self, queries: Codes, documents: Codes, scores: Slots, stride: int) -> None:
        super().__init__(queries, documents, stride)
        self.register_buffer("scores", torch.from_numpy(scores.astype(np.float32)[self._first]), persistent=False)

    def forward(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Scores of pairs, float32, shape (b, n); NaN where there is none."""
        place, found = self._find(queries, documents)
        missing = torch.full(place.shape, torch.nan, device=place.device)
        return torch.where(found, self.scores[place], missing) if len(self.scores) else missing


class Rows(nn.Module):  # type: ignore[misc]
    """The rows of a training file by number.

    Args:
        queries: code of each row's query, shape (r,).
        documents: codes of its documents, the positive first, shape (r, c); -1: none.
        positives: pairs that are known to be relevant; each row's own is among them.
        suspected: pairs that are probably relevant.
        values: float32, shape (r, c), NaN where unknown: ``teacher``, ``weight``, ``label``, ``lexical``.
    """

    def __init__(
        self, queries: Codes, documents: Codes, positives: PairTable, suspected: PairTable, values: Mapping[str, Slots] | None = None
    ) -> None:
        super().__init__()
        self.positives = positives
        self.suspected = suspected
        self.names = tuple(values or {})
        self.register_buffer("queries", torch.from_numpy(queries), persistent=False)
        self.register_buffer("documents", torch.from_numpy(documents), persistent=False)
        for name, slots in (values or {}).items():
            if slots.shape != documents.shape:
                raise ModelError(f"values '{name}' have shape {slots.shape}, the documents {documents.shape}", "give one value a document")
            self.register_buffer(f"value_{name}", torch.from_numpy(slots.astype(np.float32)), persistent=False)

    @classmethod
    def from_ids(
        cls,
        query_ids: Ids,
        document_ids: NDArray[np.object_],
        *,
        positives: Pairs = _NO_PAIRS,
        suspected: Pairs = _NO_PAIRS,
        values: Mapping[str, Slots] | None = None,
        documents: Ids | None = None,
    ) -> Rows:
        """Rows from ids; any strings that tell texts apart will do, so hashes of contents make copies equal.

        Args:
            query_ids: shape (r,).
            document_ids: the positive first, shape (r, c); None: no document.
            positives: (query ids, document ids) of known relevant pairs; those of queries or documents that no row has are dropped.
            suspected: the same for probably relevant pairs.
            values: see :class:`Rows`.
            documents: all documents, whose places become the codes (for a frozen index); by default those of the rows.

        Raises:
            InputError: a row has no positive, or a document that is not in ``documents``.
        """
        known = pd.notna(document_ids)
        if not known[:, 0].all():
            raise InputError(f"training row {int(np.argmin(known[:, 0]))} has no positive", "drop rows without a positive")
        queries = pd.Index(pd.unique(np.asarray(query_ids, dtype=object)))
        index = pd.Index(pd.unique(document_ids[known]) if documents is None else documents)
        codes = index.get_indexer(pd.Index(document_ids.ravel())).astype(np.int64).reshape(document_ids.shape)
        codes[~known] = NO_DOCUMENT
        if (missing := known & (codes < 0)).any():
            raise InputError(
                f"document {document_ids[missing][0]!r} of a training row is not in the index", "index all documents of the rows"
            )
        own = queries.get_indexer(pd.Index(np.asarray(query_ids, dtype=object))).astype(np.int64)

        def table(pairs: Pairs, more: tuple[Codes, Codes]) -> PairTable:
            left, right = (
                found.get_indexer(pd.Index(np.asarray(ids, dtype=object))).astype(np.int64)
                for found, ids in zip((queries, index), pairs, strict=True)
            )
            keep = (left >= 0) & (right >= 0)
            return PairTable(np.concatenate([left[keep], more[0]]), np.concatenate([right[keep], more[1]]), len(index))

        nothing = np.empty(0, np.int64)
        return cls(own, codes, table(positives, (own, codes[:, 0])), table(suspected, (nothing, nothing)), values)

    def value(self, name: str, labels: Tensor) -> Tensor:
        """Values of rows' documents, float32, shape (b, c); NaN where unknown.

        Raises:
            ModelError: the rows were made without them.
        """
        if name not in self.names:
            raise ModelError(f"this loss needs '{name}' for each document of a row", f"give Rows the values '{name}'")
        return getattr(self, f"value_{name}")[labels]

    def columns(self, labels: Tensor, columns: int) -> Tensor:
        """Codes of the documents of a batch, one column after the other, shape (columns · b,).

        Raises:
            ModelError: the batch has another number of document columns than the rows.
        """
        if columns != self.documents.shape[1]:
            raise ModelError(
                f"the batch has {columns} document columns, its rows {self.documents.shape[1]}", "make the rows from the same training file"
            )
        return self.documents[labels].T.reshape(-1)

    def relevant(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Whether pairs are known or suspected to be relevant, bool, shape (b, n)."""
        return self.positives.contains(queries, documents) | self.suspected.contains(queries, documents)
