"""Stage ``measure``: how many of a selection's negatives are relevant, by every estimator that can be had, and how sure each is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.calibration import FILE
from tasks.errors import InputError, UsageError
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import ESTIMATES
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import local_file, read_parts
from tasks.store.vectors import stored_vectors
from tasks.truth.calibrate import reliability_table
from tasks.truth.judged import suspect_share, suspect_zeros, unreviewed
from tasks.truth.measured import Measured, estimates, headline
from tasks.truth.on_review import OnReview, checks
from tasks.truth.pictures import histogram, served, slices_table, suspects
from tasks.truth.reviewed import LABELLED, Reviewed, best, known
from tasks.truth.selected import COLUMNS, SCORES, Selected, selected
from tasks.truth.settings import EstimateSettings
from tasks.truth.similar import Similar

STAGE = Stage(name="measure", version=6, function="tasks.truth.measure:run", unit="candidates")

_ROWS = ["stage", "epoch", "row_no", "query_id", "positive_id", "slot", "doc_id", "label"]
_QUERIES = ["query_id", "text", "language", "group", "split"]
_ADDRESS = ["query_row", "doc_partition", "doc_row"]
_ZEROS = 5  # suspect zeros in the meta


@dataclass(frozen=True)
class Review:
    """A reviewed sample of this round.

    Args:
        labels: query_id, doc_id, label (relevant, not, unsure; NULL: no answer), stratum, inclusion; other columns are ignored.
        frame: parts of ``select`` of all recipes that the sample was drawn for; none: the measured selection was one of them.
    """

    labels: pa.Table
    frame: Sequence[Part] = ()


@dataclass(frozen=True)
class Vectors:
    """Parts of ``embed-queries``, in the order of ``scored``, and of ``embed-documents``, in the order of the documents' partitions."""

    queries: Sequence[Part]
    documents: Sequence[Part]


def jobs(
    scored: Sequence[Part],
    decided: Sequence[Part],
    queries: Sequence[Part],
    sources: Sequence[str],
    settings: EstimateSettings | None = None,
    probes: Sequence[Part] = (),
    evidence: Sequence[Part] = (),
    truth: Part | None = None,
    reviews: Sequence[Review] = (),
    can_tell: bool = True,
    dataset: str = "",
    vectors: Vectors | None = None,
) -> list[Job]:
    """One job for a selection.

    Args:
        scored: parts with scored.parquet.
        decided: parts of ``select``.
        queries: parts with queries.parquet.
        sources: the round's.
        settings: see there.
        probes: parts of ``probe``; none: nothing was planted.
        evidence: parts of ``feature-evidence``, in the order of ``scored``.
        truth: a part with qrels.parquet (query_id, doc_id, relevance); without one the round's own labels are the judgements. Its optional
            queries.parquet (query_id) names the judged queries.
        reviews: samples of this round that were reviewed; the one that says most of this selection counts.
        can_tell: whether the teacher can tell relevant from not (the verdict of ``calibrate``).
        dataset: its name, a slice of its own; none: no such slice.
        vectors: of the retriever; none: no in-batch rate without judgements.

    Raises:
        UsageError: a truth is given, and not what its judgements mean.
    """
    settings = settings or EstimateSettings()
    if truth is not None and settings.judged == "none":
        raise UsageError(
            "judgements are given, and not what they say of pairs that are not listed", "set judged: exhaustive, trusted_zeros or both"
        )
    inputs = {
        "scored": _only(scored, "scored.parquet"),
        "decided": tuple(part.only("decisions.parquet", "rows.parquet") for part in decided),
        "queries": _only(queries, "queries.parquet"),
        "probes": _only(probes, "probes.parquet"),
        "evidence": _only(evidence, "features.parquet"),
        "truth": (truth,) if truth is not None else (),
        "query_vectors": _only(vectors.queries, "vectors.npy") if vectors else (),
        "document_vectors": _only(vectors.documents, "vectors.npy") if vectors else (),
        **{f"frame.{number}": _only(review.frame, "rows.parquet") for number, review in enumerate(reviews)},
    }
    keyed = {
        "sources": list(sources),
        "estimates": settings.model_dump(mode="json"),
        "reviews": [_listed(review.labels) for review in reviews],
        "can_tell": can_tell,
        "dataset": dataset,
    }
    given = {role: parts for role, parts in inputs.items() if parts}
    return [Job(index="all", inputs=given, settings=keyed, units=sum(part.file("scored.parquet").rows or 0 for part in scored))]


def run(work: Work, out: Output) -> None:
    """Write the tables of one selection.

    ``estimates.parquet`` (:data:`tasks.schema.ESTIMATES`), ``histogram.parquet``, ``suspects.parquet``, ``slices.parquet`` (yield and
    hardness), ``suspect_zeros.parquet`` (explicit zeros that look relevant). Where a review calibrates the teacher:
    ``calibration.json`` (:class:`tasks.calibration.Calibration`) and ``reliability.parquet`` (:data:`tasks.schema.RELIABILITY`).

    Meta: estimates {estimator: [rate, low, high, pairs, note]}, yield, hardness, negatives, suspect_zeros, zeros (how many there are),
    first_zeros, review_check (the teacher beside reviewed labels), calibration (on a review: auc, brier, ece, verdict, positives, pairs,
    source, kind; none: there is none).
    """
    settings = EstimateSettings.model_validate(work.job.settings["estimates"])
    given = _selected(work, settings)
    reviewed = best(_reviews(work, given))
    measured = Measured.of(given, settings, reviewed, *_truth(work), can_tell=bool(work.job.settings["can_tell"]), similar=_similar(work))
    if measured.outside and not measured.judged.any():
        raise InputError(
            "truth.qrels: none of its judged queries is in the round", "give the judgements of the collection that the round is mined from"
        )
    probes = work.table("probes", "probes.parquet") if "probes" in work.job.inputs else None
    found = estimates(measured, probes)
    full = served(given.rows, settings.num_negatives, settings.stage_negatives)
    table = slices_table(given, full)
    out.table("estimates.parquet", pa.Table.from_pylist(found, ESTIMATES))
    out.table("histogram.parquet", histogram(given, settings.bins))
    labels = known(reviewed, given.scored.num_rows)
    out.table("suspects.parquet", suspects(given, measured.probability, labels, settings.suspects, measured.can_tell, settings.split))
    out.table("slices.parquet", table)
    out.meta.update(estimates=headline(found), negatives=int(given.emitted.sum()))
    _zeros(given, out)
    out.meta.update({"yield": None, "hardness": None})
    if table.num_rows:
        out.meta.update({"yield": table["served"][0].as_py(), "hardness": table["hardness"][0].as_py()})
    design = next((one for one in found if one["estimator"] == "review_design"), None)
    out.meta["review_check"] = list(
        checks(given, reviewed, measured.own, (design["low"], design["high"]) if design else None, settings.calibration)
    )
    _calibration(measured.own, out)
    out.count(model_calls=0)
    work.report(given.scored.num_rows)


def _zeros(given: Selected, out: Output) -> None:
    scored = unreviewed(given.scored)
    zeros = suspect_zeros(scored)
    out.table("suspect_zeros.parquet", zeros)
    first = zeros.slice(0, _ZEROS).select(["query_id", "doc_id", "dense_rank", "why"])
    suspect, total = suspect_share(scored)
    out.meta.update(suspect_zeros=suspect, zeros=total, first_zeros=[list(row.values()) for row in first.to_pylist()])


def _calibration(own: OnReview | None, out: Output) -> None:
    out.meta["calibration"] = own.facts if own is not None else None
    if own is not None:
        out.data(FILE, own.fitted.model_dump_json().encode())
        out.table("reliability.parquet", reliability_table(own.fit))


def _selected(work: Work, settings: EstimateSettings) -> Selected:
    sources = [str(source) for source in work.job.settings["sources"]]
    wanted = {*COLUMNS, *SCORES, "provenance", *(f"{source}_rank" for source in sources)}
    first = work.job.inputs["scored"][0].file("scored.parquet")
    names = [name for name in pq.read_schema(local_file(work.storage, first)).names if name in wanted]
    scored = work.table("scored", "scored.parquet", names)
    if "evidence" in work.job.inputs:
        scored = scored.append_column("label_evidence", work.table("evidence", "features.parquet", ["label_evidence"])["label_evidence"])
    queries = work.table("queries", "queries.parquet", _QUERIES)
    name = str(work.job.settings["dataset"])
    named = pa.repeat(name, queries.num_rows) if name else pa.nulls(queries.num_rows, pa.string())
    return selected(
        scored,
        sources,
        work.table("decided", "decisions.parquet", ["query_id", "doc_id", "decision", "reasons"]),
        _rows(work),
        queries.append_column("dataset", named),
        settings.suspect_reasons,
        settings.depth,
    )


def _similar(work: Work) -> Similar | None:
    inputs = work.job.inputs
    if "query_vectors" not in inputs or "document_vectors" not in inputs:
        return None
    scored = work.table("scored", "scored.parquet", _ADDRESS)
    rows = [part.file("scored.parquet").rows or 0 for part in inputs["scored"]]
    query_row, doc_partition, doc_row = (scored[name].to_numpy().astype(np.int64) for name in _ADDRESS)
    return Similar(
        queries=stored_vectors(work.storage, inputs["query_vectors"]),
        documents=stored_vectors(work.storage, inputs["document_vectors"]),
        part=np.repeat(np.arange(len(rows)), rows),
        query_row=query_row,
        doc_partition=doc_partition,
        doc_row=doc_row,
        sizes=np.array([part.file("vectors.npy").rows or 0 for part in inputs["document_vectors"]]),
    )


def _rows(work: Work) -> pa.Table:
    """The training rows of all parts, with the number of each."""
    parts = work.job.inputs["decided"]
    numbers = np.repeat(np.arange(len(parts)), [part.file("rows.parquet").rows or 0 for part in parts])
    return work.table("decided", "rows.parquet", _ROWS).append_column("part", pa.array(numbers))


def _reviews(work: Work, given: Selected) -> list[Reviewed]:
    found = []
    for number, listed in enumerate(work.job.settings["reviews"]):
        labels = pa.table([pa.array(column, field.type) for column, field in zip(listed, LABELLED, strict=True)], schema=LABELLED)
        frame = work.job.inputs.get(f"frame.{number}", ())
        found.append(
            Reviewed.of(
                given, labels, read_parts(work.storage, frame, "rows.parquet", ["query_id", "doc_id", "slot", "label"]) if frame else None
            )
        )
    return found


def _truth(work: Work) -> tuple[pa.Table | None, pa.Table | None]:
    """Qrels and judged queries of the truth's part."""
    if "truth" not in work.job.inputs:
        return None, None
    (part,) = work.job.inputs["truth"]
    judged = any(file.name == "queries.parquet" for file in part.files)
    qrels = work.part_table(part, "qrels.parquet", ["query_id", "doc_id", "relevance"])
    return qrels, work.part_table(part, "queries.parquet", ["query_id"]) if judged else None


def _listed(labels: pa.Table) -> list[list[Any]]:
    """A review's labels as columns of plain values, by query_id and doc_id."""
    ordered = labels.select(LABELLED.names).cast(LABELLED).sort_by([("query_id", "ascending"), ("doc_id", "ascending")])
    return [ordered[name].to_pylist() for name in LABELLED.names]


def _only(parts: Sequence[Part], name: str) -> tuple[Part, ...]:
    return tuple(part.only(name) for part in parts)
