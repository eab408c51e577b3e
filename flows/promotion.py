"""Promotion: pseudo-positives of a round on which independent signals agree become labels of the next one, and can be withdrawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.selection import compute_features
from flows.stored import review_verdict, stored_table
from tasks.audit.build import build_audit
from tasks.audit.promotions import PromotionRecord, publish_promotion, standing_pairs, withdraw_promotions
from tasks.audit.records import RoundRecord
from tasks.errors import UsageError
from tasks.review.promote import Promotion, promote
from tasks.review.records import combined, read_reviews
from tasks.review.settings import PromotionSettings
from tasks.review.signals import COLUMNS, signals
from tasks.runner.runner import Context
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import local_file, read_table


@dataclass(frozen=True)
class Promoted:
    """What a promotion did, or would do.

    Args:
        round: whose candidates.
        promotion: the pairs, and why others are none.
        record: as it is kept; none: a dry run, or there was nothing to promote.
        dry_run: nothing was to be kept.
        notes: what else is to be said.
    """

    round: str
    promotion: Promotion
    record: PromotionRecord | None
    dry_run: bool
    notes: tuple[str, ...]

    @property
    def by_signals(self) -> dict[str, int]:
        """Promoted pairs by the signals that agreed."""
        return dict(sorted(Counter(" + ".join(names) for names in self.promotion.promoted["signals"].to_pylist()).items()))

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "round": self.round,
            "number": self.record.number if self.record else None,
            "promoted": self.promotion.promoted.num_rows,
            "queries": len(self.promotion.promoted["query_id"].unique()),
            "by_signals": self.by_signals,
            "refused": self.promotion.counts,
            "dry_run": self.dry_run,
            "notes": list(self.notes),
        }


def promote_round(
    context: Context, record: RoundRecord, settings: PromotionSettings, second: pa.Table | None = None, dry_run: bool = False
) -> Promoted:
    """Promote a round's pseudo-positives. The next round of the dataset takes them as positives, with provenance ``promoted``.

    Doing it again adds nothing: pairs that stand are not promoted twice. One partition of the queries is in memory at a time.

    Args:
        context: storage, executor, progress.
        record: the round.
        settings: thresholds, signals needed, cap a query.
        second: query_id, doc_id, score by a second teacher, each pair once; none: that signal is not there.
        dry_run: keep nothing.

    Raises:
        UsageError: the round's candidates are partial.
    """
    storage = context.storage
    table = stored_table(storage, record)
    if table.is_partial:
        raise UsageError(
            f"round {record.dataset}/{record.number}: its teacher scored a part of the candidates (teacher.lazy); promotion looks at all",
            "mine with teacher.lazy: false: pairs that were scored are reused",
        )
    (evidence,) = compute_features(context, table, {"evidence": {}}).values()
    labels, earlier = combined(read_reviews(storage, record.dataset)), standing_pairs(storage, record.dataset)
    can_tell = teacher_tells(table.calibration, review_verdict(storage, record))
    pieces = []
    for scored, feature, queries in zip(table.scored, evidence.parts, table.queries, strict=True):
        candidates = _candidates(storage, scored).append_column(
            "label_evidence", read_table(storage, feature.file("features.parquet"))["label_evidence"]
        )
        splits = read_table(storage, queries.file("queries.parquet"), ["query_id", "split"])
        pieces.append(promote(signals(candidates, settings, labels, second, can_tell), splits, settings, earlier))
    found = Promotion.of(pieces)
    kept = None
    if found.promoted.num_rows and not dry_run:
        given = settings.model_dump(mode="json")
        kept = publish_promotion(storage, record.dataset, record.number, record.candidate_set_id, given, found.promoted)
        build_audit(storage)
    notes = () if can_tell else ("the teacher cannot tell relevant from not, so it is no signal",)
    return Promoted(f"{record.dataset}/{record.number}", found, kept, dry_run, notes)


def withdraw(context: Context, record: RoundRecord, number: int | None = None) -> list[PromotionRecord]:
    """Withdraw the promotions from a round's candidates, or one of them: the next round takes none of their pairs.

    Args:
        context: storage.
        record: the round.
        number: of the promotion; none: all that stand.

    Raises:
        UsageError: there is nothing to withdraw.
    """
    withdrawn = withdraw_promotions(
        context.storage, record.dataset, lambda one: one.round == record.number and number in (None, one.number)
    )
    if not withdrawn:
        name = "no promotion" if number is None else f"no promotion {number}"
        raise UsageError(
            f"round {record.dataset}/{record.number} has {name} that stands",
            'list them: hardmine sql "SELECT DISTINCT dataset, round, number, withdrawn FROM promotions"',
        )
    build_audit(context.storage)
    return withdrawn


def _candidates(storage: Storage, part: Part) -> pa.Table:
    """What signals read of one partition; rounds from before labels had a provenance have none."""
    names = pq.read_schema(local_file(storage, part.file("scored.parquet"))).names
    table = read_table(storage, part.file("scored.parquet"), [name for name in COLUMNS if name in names])
    return table if "provenance" in names else table.append_column("provenance", pa.nulls(table.num_rows, pa.string()))


def teacher_tells(calibration: Sequence[Part], by_review: str | None) -> bool:
    """Whether the teacher can tell relevant from not, as far as is known.

    Args:
        calibration: parts of ``calibrate``, on labels.
        by_review: of :func:`flows.stored.review_verdict`; it knows better than labels.
    """
    if by_review is not None:
        return by_review != "cannot tell"
    return all(part.meta["verdict"] != "cannot tell" for part in calibration)
