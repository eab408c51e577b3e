"""Reviews as records: immutable files behind one pointer a dataset.

A review is one export with all that its reviewers have answered so far. Importing more of its answers publishes a new record of it; where a
reviewer labels a pair again, the newer label counts. Reviews of several exports stand side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from tasks.review.cells import NOT, RELEVANT
from tasks.review.labels import Answer, Answers, settle
from tasks.review.sample import Manifest
from tasks.sql import run
from tasks.store.keys import digest
from tasks.store.pointers import read_pointer, rebuild_pointer, update_pointer
from tasks.store.seal import find_record, put_record, read_record
from tasks.store.storage import Storage

LABELLED = pa.schema(
    [
        ("pair", pa.string()),
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("stratum", pa.int64()),
        ("inclusion", pa.float64()),
        ("teacher_score", pa.float64()),
        ("dense_rank", pa.int64()),
        ("dense_score", pa.float64()),
        ("recipes", pa.list_(pa.string())),
        ("label", pa.string()),  # relevant, not, unsure; NULL: not yet reviewed
        ("reviewers", pa.int64()),
        ("note", pa.string()),
    ]
)

_COMBINED = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("label", pa.string()), ("reviews", pa.int64())])


class ReviewRecord(BaseModel):
    """One export and its answers. ``number``: place among the dataset's reviews, from 1; 0: not published yet."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int = 0
    updated: str
    manifest: Manifest
    answers: tuple[Answer, ...]

    @property
    def review_id(self) -> str:
        """The review's identity: that of its export."""
        return self.manifest.checksum[:16]


def publish_review(storage: Storage, manifest: Manifest, answers: Answers | Iterable[Answer]) -> ReviewRecord:
    """Keep what reviewers answered. The same answers again change nothing; two importers at once both succeed.

    Args:
        storage: the root.
        manifest: of the export.
        answers: as :func:`tasks.review.labels.read_labels` gave them.

    Returns:
        The review as published, with the answers of earlier imports.
    """
    given = tuple(answers.answers if isinstance(answers, Answers) else answers)
    dataset = manifest.verified().origin.dataset
    published: list[ReviewRecord] = []

    def change(present: dict[str, Any] | None) -> dict[str, Any] | None:
        reviews: dict[str, str] = dict((present or {}).get("reviews", {}))
        order: list[str] = list((present or {}).get("order", []))
        old = _read(storage, reviews[manifest.checksum]) if manifest.checksum in reviews else None
        merged = _merged(old.answers if old else (), given)
        if old is not None and merged == old.answers:
            published[:] = [old]
            return None
        order = order if old else [*order, manifest.checksum]
        record = ReviewRecord(
            number=old.number if old else len(order), updated=datetime.now(UTC).isoformat("T", "seconds"), manifest=manifest, answers=merged
        )
        name = f"manifests/reviews/{dataset}/{record.review_id}-{digest(record.model_dump(mode='json'))[:16]}.json"
        put_record(storage, name, record)
        published[:] = [record]
        return {"order": order, "reviews": {**reviews, manifest.checksum: name}}

    update_pointer(storage, f"reviews/{dataset}", change)
    return published[0]


def read_reviews(storage: Storage, dataset: str) -> list[ReviewRecord]:
    """The dataset's reviews, in the order of their first import."""
    return [_read(storage, name) for name in review_manifests(storage, dataset)]


def review_manifests(storage: Storage, dataset: str) -> list[str]:
    """Names of the reviews' present records: their digest is a version of all labels of the dataset."""
    pointer = read_pointer(storage, f"reviews/{dataset}")
    return [pointer["reviews"][checksum] for checksum in pointer["order"]] if pointer else []


def rebuild_reviews(storage: Storage, dataset: str) -> None:
    """Make a dataset's pointer anew from its records: of each review the last one, in the order of their numbers."""
    found = [(name, find_record(storage, name, ReviewRecord)) for name in storage.list_names(f"manifests/reviews/{dataset}/")]
    records = sorted(((one.number, one.updated, one.manifest.checksum, name) for name, one in found if one is not None))
    reviews = {checksum: name for _, _, checksum, name in records}
    rebuild_pointer(storage, f"reviews/{dataset}", {"order": list(reviews), "reviews": reviews})


def label_table(record: ReviewRecord) -> pa.Table:
    """A review as a table: one row an exported pair, in the manifest's order, with its settled label (:data:`LABELLED`)."""
    labels = settle(record.answers)
    reviewers: dict[str, int] = {}
    notes: dict[str, list[str]] = {}
    for answer in record.answers:
        reviewers[answer.pair] = reviewers.get(answer.pair, 0) + 1
        notes.setdefault(answer.pair, []).extend([answer.note] if answer.note else [])
    rows = [
        {
            **one.model_dump(),
            "recipes": list(one.recipes),
            "label": labels.get(one.pair),
            "reviewers": reviewers.get(one.pair, 0),
            "note": "; ".join(notes.get(one.pair, [])) or None,
        }
        for one in record.manifest.pairs
    ]
    return pa.Table.from_pylist(rows, schema=LABELLED)


def combined(records: Sequence[ReviewRecord]) -> pa.Table:
    """The label of every reviewed pair of a dataset: query_id, doc_id, label, reviews (how many), by query_id and doc_id.

    A pair that was reviewed in several rounds has the label on which they agree, else unsure. Pairs that nobody labelled are left out.
    """
    tables = [label_table(record) for record in records] or [LABELLED.empty_table()]
    return run(
        "SELECT query_id, doc_id, CASE WHEN count(DISTINCT label) = 1 THEN min(label) ELSE 'unsure' END AS label, count(*) AS reviews "
        "FROM labels WHERE label IS NOT NULL GROUP BY query_id, doc_id ORDER BY query_id, doc_id",
        {"labels": pa.concat_tables(tables)},
    )


def _merged(old: tuple[Answer, ...], new: tuple[Answer, ...]) -> tuple[Answer, ...]:
    latest = {(answer.pair, answer.reviewer): answer for answer in (*old, *new)}
    return tuple(latest[key] for key in sorted(latest))


def _read(storage: Storage, name: str) -> ReviewRecord:
    return read_record(storage, name, ReviewRecord)


def sure_labels(storage: Storage, dataset: str) -> pa.Table:
    """What all reviews of a dataset together say for sure, without the unsure pairs.

    Returns:
        query_id, doc_id, relevant (bool), by query_id and doc_id.
    """
    records = read_reviews(storage, dataset)
    labels = combined(records) if records else _COMBINED.empty_table()
    sure = labels.filter(pc.is_in(labels["label"], value_set=pa.array([RELEVANT, NOT])))
    return sure.select(["query_id", "doc_id"]).append_column("relevant", pc.equal(sure["label"], RELEVANT))
