"""Promotions as records: pseudo-positives that became labels, behind one pointer a dataset; each can be withdrawn.

The pairs of a promotion lie in one Parquet file (:data:`tasks.schema.PROMOTIONS`), which never changes. A record that is withdrawn
stays, with the time when it was.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from tasks.schema import PROMOTIONS
from tasks.sql import run
from tasks.store.keys import digest
from tasks.store.pointers import read_pointer, rebuild_pointer, update_pointer
from tasks.store.seal import find_record, put_record, read_record
from tasks.store.storage import Storage
from tasks.store.tables import keep_table, read_kept


class PromotionRecord(BaseModel):
    """One promotion. ``number``: place among the dataset's promotions, from 1. ``withdrawn``: when (UTC); empty: it stands."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    number: int = 0
    round: int
    candidate_set_id: str
    created: str
    settings: dict[str, Any]
    pairs: int
    queries: int
    path: str
    bytes: int
    checksum: str
    withdrawn: str = ""


def publish_promotion(
    storage: Storage, dataset: str, number: int, candidate_set_id: str, settings: dict[str, Any], promoted: pa.Table
) -> PromotionRecord:
    """Keep what was promoted. Two at once both succeed.

    Args:
        storage: the root.
        dataset: whose queries.
        number: of the round whose candidates they are.
        candidate_set_id: of that round.
        settings: thresholds that were applied.
        promoted: as :data:`tasks.schema.PROMOTIONS`.

    Returns:
        The record, with its number.
    """
    path, size, checksum = keep_table(storage, f"promotions/{dataset}", promoted.select(PROMOTIONS.names).cast(PROMOTIONS))
    record = PromotionRecord(
        dataset=dataset,
        round=number,
        candidate_set_id=candidate_set_id,
        created=_now(),
        settings=settings,
        pairs=promoted.num_rows,
        queries=len(promoted["query_id"].unique()),
        path=path,
        bytes=size,
        checksum=checksum,
    )
    published: list[PromotionRecord] = []

    def change(records: list[PromotionRecord]) -> list[PromotionRecord]:
        published[:] = [record.model_copy(update={"number": len(records) + 1})]
        return [*records, *published]

    _update(storage, dataset, change)
    return published[0]


def withdraw_promotions(storage: Storage, dataset: str, chosen: Callable[[PromotionRecord], bool]) -> list[PromotionRecord]:
    """Withdraw standing promotions: from the next round on they are no labels.

    Args:
        storage: the root.
        dataset: whose.
        chosen: which of them.

    Returns:
        Those that were withdrawn now.
    """
    withdrawn: list[PromotionRecord] = []

    def change(records: list[PromotionRecord]) -> list[PromotionRecord]:
        now = _now()
        after = [one.model_copy(update={"withdrawn": now}) if not one.withdrawn and chosen(one) else one for one in records]
        withdrawn[:] = [new for old, new in zip(records, after, strict=True) if new != old]
        return after

    _update(storage, dataset, change)
    return withdrawn


def read_promotions(storage: Storage, dataset: str) -> list[PromotionRecord]:
    """All promotions of a dataset by their number, those that were withdrawn too."""
    return [_read(storage, name) for name in promotion_manifests(storage, dataset)]


def promotion_manifests(storage: Storage, dataset: str) -> list[str]:
    """Names of the promotions' present records."""
    return list((read_pointer(storage, f"promotions/{dataset}") or {"records": []})["records"])


def promoted_pairs(storage: Storage, record: PromotionRecord) -> pa.Table:
    """The pairs of one promotion (:data:`tasks.schema.PROMOTIONS`)."""
    return read_kept(storage, record.path, record.bytes, record.checksum)


def rebuild_promotions(storage: Storage, dataset: str) -> None:
    """Make a dataset's pointer anew from its records: of each promotion the withdrawn one, where there is one."""
    found = [(name, find_record(storage, name, PromotionRecord)) for name in storage.list_names(f"manifests/promotions/{dataset}/")]
    records = sorted((one.number, bool(one.withdrawn), name) for name, one in found if one is not None)
    rebuild_pointer(storage, f"promotions/{dataset}", {"records": list({number: name for number, _, name in records}.values())})


def standing_pairs(storage: Storage, dataset: str) -> pa.Table:
    """query_id, doc_id of all promotions that were not withdrawn, each pair once, sorted."""
    tables = [promoted_pairs(storage, record) for record in read_promotions(storage, dataset) if not record.withdrawn]
    return run("SELECT DISTINCT query_id, doc_id FROM pairs ORDER BY ALL", {"pairs": pa.concat_tables([PROMOTIONS.empty_table(), *tables])})


def _update(storage: Storage, dataset: str, change: Callable[[list[PromotionRecord]], list[PromotionRecord]]) -> None:
    def moved(present: dict[str, Any] | None) -> dict[str, Any]:
        names = list((present or {"records": []})["records"])
        records = [_read(storage, name) for name in names]
        for place, record in enumerate(change(records)):
            if place < len(records) and record == records[place]:
                continue
            name = f"manifests/promotions/{dataset}/{record.number}-{digest(record.model_dump(mode='json'))[:16]}.json"
            put_record(storage, name, record)
            names[place : place + 1] = [name]
        return {"records": names}

    update_pointer(storage, f"promotions/{dataset}", moved)


def _read(storage: Storage, name: str) -> PromotionRecord:
    return read_record(storage, name, PromotionRecord)


def _now() -> str:
    return datetime.now(UTC).isoformat("T", "seconds")
