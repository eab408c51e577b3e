"""Labelled pairs that may calibrate a teacher: of queries that it was not trained on, against unlabelled candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.folds import Fold, group_draws, in_fold, query_groups
from tasks.intervals import Codes, Floats
from tasks.models.order import is_trained
from tasks.schema import PROMOTED, REVIEWED
from tasks.sql import quote_identifier, run
from tasks.truth.calibration import apply, fit

_Flags = NDArray[np.bool_]
_CALIBRATION = "calibration"
_LABELS = f"provenance IS DISTINCT FROM '{PROMOTED}'"


@dataclass(frozen=True)
class LabelledPairs:
    """Pairs with the teacher's score.

    Args:
        score: (n,) logits, finite.
        label: (n,) a labelled positive; the others are unlabelled candidates.
        weight: (n,) how many candidates each stands for.
        fold: (n,) fold of its query's group.
    """

    score: Floats
    label: _Flags
    weight: Floats
    fold: Codes

    @property
    def positives(self) -> int:
        """Labelled ones."""
        return int(self.label.sum())


def untrained(queries: pa.Table, held_out: Any, folds: int) -> pa.Table:
    """The queries that the teacher was not trained on and that may calibrate it.

    Those of split calibration, where there are any: none is trained on. Else those that may be trained on and were held out. Never those
    of dev or test.

    Args:
        queries: query_id, group, split.
        held_out: ``all``, or ``holdout`` (share of the groups) and ``seed``, as the teacher's training held them out.
        folds: how many folds of groups to make.

    Returns:
        query_id and fold.
    """
    ids = queries["query_id"].to_pylist()
    groups = query_groups(ids, ids, queries["group"].to_pylist())
    seed, kept = 0, _calibrating(queries["split"])
    if isinstance(held_out, Mapping):
        seed = int(held_out["seed"])
    if not kept.any():
        kept = np.asarray(is_trained(queries["split"]), dtype=bool)
        if isinstance(held_out, Mapping):
            kept &= group_draws(groups, seed).astype(np.float64) / 2.0**64 < float(held_out["holdout"])
    draws = group_draws(groups, seed + 1)  # other draws than those that held the groups out
    fold = np.zeros(len(ids), dtype=np.int64)
    for number in range(folds):
        fold[in_fold(draws, Fold(number, folds))] = number
    return pa.table({"query_id": queries["query_id"], "fold": fold}).filter(pa.array(kept))


def _calibrating(split: pa.ChunkedArray) -> _Flags:
    """(n,) which queries are of split calibration."""
    return np.asarray(pc.fill_null(pc.equal(pc.utf8_lower(split), _CALIBRATION), False), dtype=bool)


def labelled_pairs(
    candidates: pa.Table, pairs: pa.Table, queries: pa.Table, sources: Sequence[str], depth: int, max_pairs: int
) -> LabelledPairs:
    """Labelled positives and unlabelled candidates within the teacher's depth, of queries that have a labelled positive.

    Together, by weight, they stand for all candidates there are: positives count once, and as many unlabelled candidates as were drawn for
    all of them. Left out: planted positives and what has the texts of such a pair, promoted ones (a teacher had a part in them), and
    documents that are judged to be no positives, unless a reviewer did.

    Args:
        candidates: query_id, relevance, is_positive, planted, provenance, query_hash, doc_hash, ``<source>_rank``.
        pairs: :data:`tasks.schema.PAIRS`.
        queries: of :func:`untrained`.
        sources: whose ranks count.
        depth: worst rank.
        max_pairs: unlabelled candidates to draw at most, by hash.
    """
    ranked = " OR ".join(f"{quote_identifier(f'{source}_rank')} <= {int(depth)}" for source in sources) or "false"
    found = run(
        f"""WITH labelled AS (SELECT query_id FROM candidates WHERE is_positive AND {_LABELS}),
                 asked AS (SELECT query_id, fold FROM queries SEMI JOIN labelled USING (query_id)),
                 known AS (SELECT query_id, fold, coalesce(is_positive, false) AS label, query_hash, doc_hash
                           FROM candidates JOIN asked USING (query_id)
                           WHERE ({ranked}) AND {_LABELS}
                             AND (is_positive OR relevance IS NULL OR provenance = '{REVIEWED}')),
                 probes AS (SELECT query_hash, doc_hash FROM candidates WHERE planted),
                 logits AS (SELECT query_hash, doc_hash, min(logit)::DOUBLE AS score FROM pairs WHERE isfinite(logit) GROUP BY ALL)
            SELECT fold, label, score FROM known JOIN logits USING (query_hash, doc_hash) ANTI JOIN probes USING (query_hash, doc_hash)
            ORDER BY label DESC, md5(query_hash || doc_hash), query_id, doc_hash""",
        {"candidates": candidates, "pairs": pairs, "queries": queries},
    )
    label = found["label"].to_numpy()
    positives = int(label.sum())
    rest = len(label) - positives
    drawn = min(rest, max_pairs)
    score, fold = (found[name].to_numpy()[: positives + drawn] for name in ("score", "fold"))
    weight = np.ones(positives + drawn)
    weight[positives:] = rest / max(drawn, 1)
    return LabelledPairs(score, label[: positives + drawn], weight, fold)


def out_of_fold(given: LabelledPairs, kind: Any) -> Floats:
    """(n,) probability of each pair by a calibration that saw no label of its fold; by one that saw all where there is no other fold."""
    probability = np.empty(len(given.score))
    for number in np.unique(given.fold):
        mine = given.fold == number
        train = ~mine if given.label[~mine].any() else np.ones_like(mine)
        fitted = fit(given.score[train], given.label[train], given.weight[train], kind)
        probability[mine] = apply(fitted, given.score[mine])
    return probability
