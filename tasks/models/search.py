"""Exact nearest vectors on a GPU: blocked products of bfloat16, and float32 for the few documents that can be among the best.

Rounding to bfloat16 moves a score by no more than a bound that is computed from what rounding took of each vector. The best
``2 · top_k`` by the rounded scores are scored again in float32. Where the ``top_k``-th of these is above whatever was left out plus the
bound, nothing was missed; the other queries are compared in float32 throughout. So the result is that of an exact float32 search, up to
the last bits of scores.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

REFINE = 2
_DOCUMENT_FLOATS = 1 << 29  # of a block: 2 GiB, and half as much rounded
_SCORES = 1 << 28  # of a block: 1 GiB
_GATHERED = 1 << 28  # floats of documents that are scored again
_ACCUMULATED = 1e-5  # relative: what sums of float32 may be off

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


class Documents(NamedTuple):
    """A block of documents on the device: float32 and bfloat16 (n, dim), the greatest length, the greatest that rounding took."""

    exact: Tensor
    rounded: Tensor
    length: float
    lost: float


def nearest(
    documents: NDArray[Any],
    queries: NDArray[Any],
    top_k: int,
    device: str,
    report: Callable[[int], None] = lambda _: None,
    block: int | None = None,
) -> tuple[Floats, Rows]:
    """The ``top_k`` documents with the greatest inner product, for each query.

    Args:
        documents: (n, dim), float16 or float32; n ≥ top_k.
        queries: (q, dim), float16 or float32.
        top_k: at least 1.
        device: as torch names it.
        report: told how many queries are done, of each block of documents its share.
        block: documents on the device at once; none: 2 GiB of them.

    Returns:
        Scores float32 (q, top_k), highest first, and rows int64 (q, top_k); of equal scores the first row comes first.
    """
    if not len(queries):
        return np.empty((0, top_k), dtype=np.float32), np.empty((0, top_k), dtype=np.int64)
    size = block or max(top_k, _DOCUMENT_FLOATS // max(1, documents.shape[1]))
    scores, rows = np.empty((len(queries), 0), dtype=np.float32), np.empty((len(queries), 0), dtype=np.int64)
    with torch.inference_mode():
        asked = _moved(queries, device)
        for start in range(0, len(documents), size):
            here = _documents(documents[start : start + size], device)
            found = [_block(here, asked[first : first + step], top_k) for first, step in _steps(len(asked), here, top_k)]
            found_scores, found_rows = (torch.cat(column).cpu().numpy() for column in zip(*found, strict=True))
            scores = np.concatenate([scores, found_scores], axis=1)
            rows = np.concatenate([rows, found_rows + start], axis=1)
            order = np.lexsort((rows, -scores), axis=1)[:, :top_k]
            scores, rows = np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
    report(len(queries))
    return scores, rows


def _moved(array: NDArray[Any], device: str) -> Tensor:
    """float32 on the device; through pinned memory, where that is another one's."""
    tensor = torch.from_numpy(np.array(array, dtype=np.float32))
    return tensor.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else tensor.to(device)


def _documents(array: NDArray[Any], device: str) -> Documents:
    exact = _moved(array, device)
    rounded = exact.bfloat16()
    lost = (exact - rounded.float()).norm(dim=1)
    return Documents(exact, rounded, float(exact.norm(dim=1).max()), float(lost.max()))


def _steps(queries: int, here: Documents, top_k: int) -> list[tuple[int, int]]:
    """Starts and sizes of blocks of queries whose scores, and gathered documents, fit beside the documents."""
    count, dim = here.exact.shape
    step = max(1, min(_SCORES // count, _GATHERED // (REFINE * top_k * max(1, dim))))
    return [(start, step) for start in range(0, queries, step)]


def _block(here: Documents, queries: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Scores and rows of the best among the documents at hand, both (q, min(top_k, n))."""
    count = len(here.exact)
    wanted = min(top_k, count)
    kept = min(REFINE * wanted, count)
    rounded = queries.bfloat16()
    top = _product(rounded, here.rounded).topk(kept, dim=1)
    scores, rows = _ordered(here, queries, top.indices, wanted)
    if kept < count:
        left_out = top.values[:, -1] + _bound(here, queries, rounded)
        missed = (scores[:, -1] <= left_out).nonzero().ravel()
        if len(missed):
            scores[missed], rows[missed] = _exactly(here, queries[missed], wanted)
    return scores, rows


def _product(queries: Tensor, documents: Tensor) -> Tensor:
    """bfloat16 (q, dim) and (n, dim) to float32 (q, n), summed in float32."""
    if queries.is_cuda:
        return torch.mm(queries, documents.T, out_dtype=torch.float32)
    return queries.float() @ documents.float().T


def _bound(here: Documents, queries: Tensor, rounded: Tensor) -> Tensor:
    """(q,): how far a score of rounded vectors can be from the exact one: q·d − q'·d' = (q − q')·d + q'·(d − d'), by Cauchy-Schwarz."""
    lost = (queries - rounded.float()).norm(dim=1)
    length = queries.norm(dim=1)
    return lost * here.length + rounded.float().norm(dim=1) * here.lost + _ACCUMULATED * length * here.length


def _exactly(here: Documents, queries: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
    """The same by float32 throughout; of those that tie at the border, the first rows."""
    step = max(1, _SCORES // len(here.exact))
    pieces = []
    for start in range(0, len(queries), step):
        some = queries[start : start + step]
        scores = some @ here.exact.T
        border = scores.topk(wanted, dim=1).values[:, -1:]
        above, level = scores > border, scores == border
        room = wanted - above.sum(dim=1, keepdim=True)
        chosen = (above | (level & (level.cumsum(dim=1) <= room))).nonzero()[:, 1].reshape(len(some), wanted)
        pieces.append(_ordered(here, some, chosen, wanted))
    scores, rows = zip(*pieces, strict=True)
    return torch.cat(scores), torch.cat(rows)


def _ordered(here: Documents, queries: Tensor, rows: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
    """Rows (q, k) by their float32 scores, highest first, of equal ones the first row first; the best ``wanted``."""
    rows = rows.sort(dim=1).values
    scores = torch.bmm(here.exact[rows.ravel()].view(*rows.shape, -1), queries[:, :, None]).squeeze(2)
    order = scores.sort(dim=1, descending=True, stable=True)
    return order.values[:, :wanted], rows.gather(1, order.indices)[:, :wanted]
