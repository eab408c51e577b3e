"""RocketQA's training pairs: labelled pairs against candidates sampled by hash. Pure array work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.folds import Fold, group_draws, in_fold
from tasks.models.settings import TeacherTraining

HOLDOUT_PAIRS = 240  # enough for an AUC, and quick to score twice

Words = NDArray[np.uint64]


@dataclass(frozen=True)
class Sample:
    """Pairs that are trained on or measured on, as rows of a candidates table.

    Args:
        rows: int64, shape (n,): a row of the pair's query; ascending.
        docs: int64, shape (n,): a row of the pair's document; the same row unless the document was drawn from another query's.
        labels: float32, shape (n,): 1 labelled, 0 sampled.
        holdout: bool, shape (n,): measured on only.
    """

    rows: NDArray[np.int64]
    docs: NDArray[np.int64]
    labels: NDArray[np.float32]
    holdout: NDArray[np.bool_]

    @property
    def trained(self) -> int:
        """Pairs to train on."""
        return int((~self.holdout).sum())


def sample(table: pa.Table, groups: Sequence[str], settings: TeacherTraining, sources: Sequence[str], fold: Fold | None = None) -> Sample:
    """Choose pairs.

    Args:
        table: candidates sorted by query: query_id, relevance, is_positive, planted, query_hash, doc_hash, ``<source>_rank``.
        groups: group of each different query, in the table's order; a group is held out as a whole.
        settings: ranks, negatives, random_negatives, holdout, max_pairs, seed.
        sources: whose ranks count.
        fold: the groups to hold out; none: a share of ``holdout`` of them.

    Returns:
        For each query with a labelled document: its labelled rows; for each of these ``negatives`` sampled candidates (or all
        there are) and, in training, about ``random_negatives`` documents that are no candidates of the query.
        Judged documents below the grade of a positive are left out, and what is to the teacher the same input as a planted pair.
    """
    if table.num_rows == 0:
        return Sample(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32), np.empty(0, bool))
    query = query_codes(table["query_id"])
    asked, documents = hash_words(table["query_hash"]), hash_words(table["doc_hash"])
    probe = _as_planted(table, asked, documents)
    positive = np.asarray(table["is_positive"].fill_null(False).to_numpy(zero_copy_only=False), dtype=bool) & ~probe
    labelled = np.bincount(query[positive], minlength=len(groups))
    chance = mix(asked, documents, settings.seed)
    pool = np.flatnonzero(_eligible(table, settings, sources) & ~positive & ~probe)
    pool = pool[np.lexsort((pool, chance[pool], query[pool]))]
    place = np.arange(len(pool)) - np.searchsorted(query[pool], query[pool])
    negatives = pool[place < settings.negatives * labelled[query[pool]]]
    others, drawn = _random_pairs(np.flatnonzero(positive), asked, documents, settings)
    rows = np.concatenate([np.flatnonzero(positive), negatives, others]).astype(np.int64)
    docs = np.concatenate([np.flatnonzero(positive), negatives, drawn]).astype(np.int64)
    held, chosen = _choose_queries(np.bincount(query[rows], minlength=len(groups)), labelled, groups, settings, fold)
    keep = chosen[query[rows]] & ~(held[query[rows]] & (rows != docs))
    order = np.lexsort((docs, rows))
    order = order[keep[order]]
    rows, docs = rows[order], docs[order]
    return Sample(rows, docs, (positive[rows] & (rows == docs)).astype(np.float32), held[query[rows]])


def _as_planted(table: pa.Table, asked: Words, documents: Words) -> NDArray[np.bool_]:
    """(n,) whether texts of query and document are those of a planted pair, which another query or document may share."""
    planted = np.asarray(table["planted"].fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)
    pairs = mix(asked, documents, 0)
    return np.asarray(np.isin(pairs, pairs[planted]), dtype=bool)


def _random_pairs(
    positive: NDArray[np.int64], asked: Words, documents: Words, settings: TeacherTraining
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each labelled row some rows of other queries, whose documents are no candidates of its own query."""
    rows = np.repeat(positive, settings.random_negatives)
    draw = np.tile(np.arange(settings.random_negatives, dtype=np.uint64), len(positive))
    chance = mix(mix(asked[rows], documents[rows], settings.seed), draw, settings.seed + 1)
    drawn = (chance % np.uint64(len(asked))).astype(np.int64)
    known = np.isin(mix(asked[rows], documents[drawn], 0), mix(asked, documents, 0))
    return rows[~known], drawn[~known]


def query_codes(query_ids: pa.ChunkedArray) -> NDArray[np.int64]:
    """Number of each row's query, from 0, in the order of appearance; shape (rows,)."""
    return np.asarray(query_ids.combine_chunks().dictionary_encode().indices.to_numpy(), dtype=np.int64)


def hash_words(column: pa.ChunkedArray) -> Words:
    """The first 16 hex digits of hash strings as numbers, shape (n,)."""
    text = np.asarray(column.to_numpy(zero_copy_only=False), dtype="S16")
    codes = np.frombuffer(text.tobytes(), dtype=np.uint8).reshape(-1, 16)
    digits = np.where(codes >= ord("a"), codes - ord("a") + 10, codes - ord("0")).astype(np.uint64)
    shifts = np.arange(60, -4, -4, dtype=np.uint64)
    words: Words = np.bitwise_or.reduce(digits << shifts, axis=1)
    return words


def mix(left: Words, right: Words, seed: int) -> Words:
    """A number for each pair and seed, evenly spread (two rounds of splitmix64)."""
    with np.errstate(over="ignore"):
        return _splitmix(_splitmix(left + np.uint64(seed)) ^ right)


def _splitmix(word: Words) -> Words:
    word = word + np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def _eligible(table: pa.Table, settings: TeacherTraining, sources: Sequence[str]) -> NDArray[np.bool_]:
    unjudged = np.asarray(table["relevance"].is_null().to_numpy(zero_copy_only=False), dtype=bool)
    ranked = np.zeros(table.num_rows, dtype=bool)
    for source in sources:
        ranks = np.asarray(table[f"{source}_rank"].fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)
        ranked |= (ranks >= settings.min_rank) & (ranks <= settings.max_rank)
    return unjudged & ranked


def _choose_queries(
    pairs: NDArray[np.int64], labelled: NDArray[np.int64], groups: Sequence[str], settings: TeacherTraining, fold: Fold | None
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which queries are held out, and which take part at all: labelled ones, by hash, up to the limits."""
    draws = group_draws(groups, settings.seed)
    held = draws.astype(np.float64) / 2.0**64 < settings.holdout if fold is None else in_fold(draws, fold)
    chosen = np.zeros(len(groups), dtype=bool)
    order = np.argsort(draws, kind="stable")
    for kind, limit in ((held, HOLDOUT_PAIRS), (~held, settings.max_pairs)):
        candidates = order[(kind & (labelled > 0))[order]]
        chosen[candidates[np.cumsum(pairs[candidates]) <= limit]] = True
    return held, chosen
