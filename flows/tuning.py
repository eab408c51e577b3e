"""On which queries recipes and thresholds are compared: those that may be trained on, unless more is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from tasks.audit.checkpoints import ReadingRecord, publish_reading
from tasks.audit.records import RoundRecord
from tasks.compare.truth import Truth, check_truth
from tasks.corpus.settings import TRAIN
from tasks.errors import InputError, UsageError
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import read_parts

ALL, TEST = "all", "test"


@dataclass(frozen=True)
class Tuning:
    """The queries that are looked at.

    Args:
        words: which, for readers; empty: the dataset has no splits, all are looked at.
        truth: the judgements on these queries, or none.
        notes: what a reader must know besides.
        ids: of the queries; none: all.
        groups: query_id, group of the round's queries: what is independent of each other.
        test: of how many queries of split test judgements are looked at.
    """

    words: str
    truth: Truth | None
    notes: tuple[str, ...] = ()
    ids: pa.Array | None = None
    groups: pa.Table | None = None
    test: int = 0

    def of(self, table: pa.Table) -> pa.Table:
        """Rows of these queries.

        Args:
            table: with ``query_id``.
        """
        return table if self.ids is None else table.filter(pc.is_in(table["query_id"], value_set=self.ids))


def tuned_on(storage: Storage, queries: Sequence[Part], split: str, truth: Truth | None, scored: pa.Table) -> Tuning:
    """Which queries, and which of the judgements.

    Args:
        storage: the root.
        queries: parts with ``queries.parquet``.
        split: a split's name, or ``all``; empty: train (and none), where any query may be trained on, else all.
        truth: exhaustive judgements, or none.
        scored: the round's candidates, at least query_id and doc_id.

    Raises:
        UsageError: no query is of that split.
        InputError: no judged query is; or the truth is of another collection.
    """
    if truth is not None:
        check_truth(truth, scored)
    table = read_parts(storage, queries, "queries.parquet", ["query_id", "split", "group"])
    groups = table.select(["query_id", "group"])
    named = pc.utf8_lower(pc.fill_null(table["split"], TRAIN))
    counts = Counter(named.to_pylist())
    wanted = split.lower() or (TRAIN if TRAIN in counts else ALL)
    if wanted != ALL and wanted not in counts:
        raise UsageError(f"no query is of split {split!r}", f"there are {', '.join(sorted(counts))}; or give {ALL}")
    inside = set(counts) if wanted == ALL else {wanted}
    if len(counts) == 1:
        return Tuning("", truth, groups=groups)
    which = pc.is_in(named, value_set=pa.array(sorted(inside)))
    ids = None if wanted == ALL else table["query_id"].filter(which).combine_chunks()
    held_out = table["query_id"].filter(pc.equal(named, TEST)).combine_chunks()
    read = _of_test(truth, held_out) if TEST in inside else 0
    shown = "queries of all splits" if wanted == ALL else f"queries of split {wanted}" + (" (and of none)" if wanted == TRAIN else "")
    return Tuning(f"{sum(counts[name] for name in inside):,} {shown}", _judged(truth, ids, wanted), _said(read), ids, groups, read)


def record_reading(storage: Storage, record: RoundRecord, looked: Tuning) -> None:
    """Keep that a round's recipes were compared by the truth of split test, so that test counts as read."""
    if looked.test:
        publish_reading(storage, ReadingRecord(dataset=record.dataset, round=record.number, split=TEST))


def _judged(truth: Truth | None, ids: pa.Array | None, split: str) -> Truth | None:
    """Judgements on some queries."""
    if truth is None or ids is None:
        return truth
    judged = truth.judged.filter(pc.is_in(truth.judged["query_id"], value_set=ids))
    if truth.judged.num_rows and not judged.num_rows:
        raise InputError(
            f"truth: none of its judged queries is of split {split!r}",
            "recipes and thresholds are chosen on queries that are trained on: judge some of those, or look at others in spite of that: "
            "--split dev, --split all",
        )
    return replace(truth, judged=judged)


def _of_test(truth: Truth | None, held_out: pa.Array) -> int:
    """How many queries of split test are judged."""
    return 0 if truth is None else int(pc.sum(pc.is_in(truth.judged["query_id"], value_set=held_out)).as_py() or 0)


def _said(read: int) -> tuple[str, ...]:
    """What readers are told where judgements of split test are looked at."""
    if not read:
        return ()
    return (
        f"the truth of {read:,} queries of split test was read, and that is counted: what is chosen by it is not measured on test any more",
    )
