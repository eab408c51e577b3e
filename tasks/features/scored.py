"""Stage ``scored``: candidates with the teacher's scores, duplicates marked, and the positives' scores beside each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.calibration import FILE as CALIBRATION
from tasks.calibration import Calibration
from tasks.features.nearest import addresses, positive_similarity, query_similarity, split
from tasks.groups import Bools, Groups, codes, equals_positive, positive_columns
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import PAIRS, score_columns
from tasks.schema import scored as scored_schema
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.tables import local_file, take_texts
from tasks.teacher import teacher_columns

STAGE = Stage(name="scored", version=2, function="tasks.features.scored:run", unit="candidates")


def jobs(
    sources: Sequence[str],
    candidates: Sequence[Part],
    queries: Sequence[Part],
    documents: Sequence[Part],
    scores: Sequence[Part] = (),
    fixed_documents: Sequence[Part] = (),
    fixed_queries: Sequence[Part] = (),
    activation: str = "sigmoid",
    calibration: Part | None = None,
    partial: Sequence[Mapping[str, Any]] = (),
    ensemble: bool = False,
) -> list[Job]:
    """One job a partition of the candidates.

    Args:
        sources: the round's sources.
        candidates: parts of ``candidates``.
        queries: parts of ``queries``, in the same order.
        documents: parts of ``documents``.
        scores: parts of ``score``, of all query partitions (``q0000.b000`` belongs to ``q0000``); none: no teacher.
        fixed_documents: parts of ``embed-documents`` by a fixed encoder, in the order of ``documents``; none: ``positive_similarity`` is
            NULL.
        fixed_queries: parts of ``embed-queries`` by the fixed encoder, in the order of ``queries``; none: ``fixed_score`` is NULL.
        activation: how a logit becomes ``teacher_sigmoid``: ``sigmoid``, or ``identity`` for a teacher that gives probabilities.
        calibration: a part with ``calibration.json``; without one, or without that file in it, ``teacher_calibrated`` is NULL.
        partial: the teacher scored no more than some selections need: recipe, num_negatives and key of each. Part of the table's key, and
            in its meta: no other selection may be made from it.
        ensemble: the scores are several teachers', with their disagreement.
    """
    by_partition: dict[str, list[Part]] = {}
    for part in scores:
        by_partition.setdefault(part.index.split(".")[0], []).append(part.only("pairs.parquet"))
    texts = tuple(part.only("docs.parquet") for part in documents)
    vectors = tuple(part.only("vectors.npy") for part in fixed_documents)
    own: list[tuple[Part, ...]] = [(part.only("vectors.npy"),) for part in fixed_queries] or [()] * len(candidates)
    fitted = calibration is not None and any(file.name == CALIBRATION for file in calibration.files)
    calibrations = {"calibration": (calibration.only(CALIBRATION),)} if calibration is not None and fitted else {}
    marked: dict[str, Any] = {"partial": [dict(mark) for mark in partial]} if partial else {}
    marked |= {"ensemble": True} if ensemble else {}
    return [
        Job(
            index=part.index,
            inputs={
                "candidates": (part.only("candidates.parquet"),),
                "queries": (asked.only("queries.parquet"),),
                "documents": texts,
                "scores": tuple(by_partition.get(part.index, ())),
                "fixed_documents": vectors,
                "fixed_queries": encoded,
                **calibrations,
            },
            settings={"sources": list(sources), "activation": activation, **marked},
            units=part.file("candidates.parquet").rows or 0,
        )
        for part, asked, encoded in zip(candidates, queries, own, strict=True)
    ]


def run(work: Work, out: Output) -> None:
    """Write ``scored.parquet`` in the candidates' order; meta: rows, scored pairs, copies by kind."""
    sources = list(work.job.settings["sources"])
    table = work.table("candidates", "candidates.parquet")
    pairs = work.table("scores", "pairs.parquet") if work.job.inputs["scores"] else PAIRS.empty_table()
    groups = Groups(table["query_row"].to_numpy(), table["is_positive"].to_numpy())
    columns: dict[str, Any] = {name: table[name] for name in table.column_names}
    columns |= teacher_columns(table, pairs, str(work.job.settings.get("activation", "sigmoid")), _calibration(work))
    columns |= _copy_columns(work, table, groups)
    columns["fixed_score"] = query_similarity(work, table)
    columns["positive_similarity"] = positive_similarity(work, table, groups)
    work.report(table.num_rows)
    for name in score_columns(sources):
        columns |= positive_columns(groups, name, columns[name])
    schema = scored_schema(sources, bool(work.job.settings.get("ensemble")))
    result = pa.table(columns).select(schema.names).cast(schema)
    out.table("scored.parquet", result)
    out.meta.update({"rows": result.num_rows, "scored": result.num_rows - result["teacher_logit"].null_count})
    out.meta |= {"partial": work.job.settings["partial"]} if "partial" in work.job.settings else {}
    out.meta["copies"] = {name: result.num_rows - result[name].null_count for name in ("copy_of", "norm_copy_of")}


def _calibration(work: Work) -> Calibration | None:
    if "calibration" not in work.job.inputs:
        return None
    (part,) = work.job.inputs["calibration"]
    return Calibration.model_validate_json(local_file(work.storage, part.file(CALIBRATION)).read_bytes())


def _copy_columns(work: Work, table: pa.Table, groups: Groups) -> dict[str, Any]:
    """``copy_of`` by exact title and text, or text alone; ``norm_copy_of`` by normal form."""
    queries = work.table("queries", "queries.parquet", ["text", "norm_hash"])
    address, place = np.unique(addresses(table), return_inverse=True)
    documents = take_texts(work.storage, work.job.inputs["documents"], *split(address), ["norm_hash"])
    norm, asked = codes(_strings(documents["norm_hash"]), _strings(queries["norm_hash"]))
    norm_query = norm[place] == asked[groups.query]
    norm_positive = equals_positive(groups, norm[place])
    (content,) = codes(_strings(table["doc_hash"]))
    exact_query, exact_text = _exact(work, table, groups, queries["text"], norm_query, norm_positive)
    exact_positive = equals_positive(groups, content) | exact_text
    return {"copy_of": _kinds(exact_query, exact_positive), "norm_copy_of": _kinds(norm_query, norm_positive)}


def _exact(
    work: Work, table: pa.Table, groups: Groups, asked: pa.ChunkedArray, norm_query: Bools, norm_positive: Bools
) -> tuple[Bools, Bools]:
    """Whose text is exactly the query's, and whose is exactly a positive's. Only texts of equal normal form are fetched."""
    of_query, of_positive = np.zeros(len(norm_query), dtype=bool), np.zeros(len(norm_query), dtype=bool)
    with_copies = np.zeros(groups.size, dtype=bool)
    with_copies[groups.query[norm_positive]] = True
    rows = np.flatnonzero(norm_query | norm_positive | (groups.positive & with_copies[groups.query]))
    if not len(rows):
        return of_query, of_positive
    address = addresses(table)[rows]
    texts = _strings(take_texts(work.storage, work.job.inputs["documents"], *split(address), ["text"])["text"])
    text, query = codes(texts, _strings(asked.take(pa.array(groups.query[rows]))))
    of_query[rows] = text == query
    written = texts != ""
    some = Groups(groups.query[rows][written], groups.positive[rows][written])
    of_positive[rows[written]] = equals_positive(some, text[written])
    return of_query, of_positive


def _kinds(query: Bools, positive: Bools) -> pa.Array:
    kinds = np.where(query, "query", "positive").astype(object)
    return pa.array(kinds, type=pa.string(), mask=~(query | positive))


def _strings(column: pa.ChunkedArray) -> NDArray[Any]:
    values: NDArray[Any] = pc.fill_null(column, "").to_numpy()
    return values
