"""What is shown of a selection beside its rates: histograms of its scores, its most suspicious negatives, yield and hardness by slice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from tasks.intervals import Codes, Floats
from tasks.schema import HISTOGRAM
from tasks.sql import quote_literal, run
from tasks.truth.selected import Flags, Selected, flags
from tasks.truth.slices import SMALL

SUSPECTS = pa.schema(
    [
        ("query_id", pa.string()),
        ("doc_id", pa.string()),
        ("dense_rank", pa.int32()),
        ("dense_score", pa.float32()),
        ("teacher_logit", pa.float32()),
        ("teacher_sigmoid", pa.float32()),
        ("teacher_calibrated", pa.float32()),
        ("label_evidence", pa.float32()),
        ("basis", pa.string()),  # review | calibrated | label_evidence | teacher | dense ratio: what the pair is listed for
        ("suspicion", pa.float64()),  # its value; best first within a basis
        ("probability", pa.float64()),  # to be relevant; NULL where the basis gives none
    ]
)

SLICES = pa.schema(
    [
        ("slice", pa.string()),
        ("value_of_slice", pa.string()),  # empty for all
        ("queries", pa.int64()),  # with a training row
        ("served", pa.float64()),  # share of them whose rows all have their negatives
        ("negatives", pa.int64()),
        ("hardness", pa.float64()),  # mean dense score of the negatives
        ("small", pa.bool_()),
    ]
)

_HISTOGRAMS = ("dense_score", "teacher_logit", "label_evidence")
_PROBABLE = ("review", "calibrated", "teacher")


def histogram(selected: Selected, bins: int) -> pa.Table:
    """:data:`tasks.schema.HISTOGRAM`: each pair has one kind (the first that fits); what was only passed over is left out."""
    planted = flags(selected.scored["planted"]) & selected.retrieved
    kinds: dict[str, Flags] = {"planted": planted, "positive": flags(selected.scored["is_positive"]), "negative": selected.emitted}
    kinds |= {"suspect": selected.suspect, "rejected": selected.rejected}
    left = np.ones(selected.scored.num_rows, dtype=bool)
    tables = []
    for kind, which in kinds.items():
        kinds[kind] = which & left
        left &= ~which
    for name in _HISTOGRAMS:
        score = selected.score(name)
        shown = {kind: score[which & np.isfinite(score)] for kind, which in kinds.items()}
        values = np.concatenate(list(shown.values()))
        if not len(values):
            continue
        edges = np.histogram_bin_edges(values, bins)
        for kind, mine in shown.items():
            counts = np.histogram(mine, edges)[0]
            columns = [pa.repeat(name, bins), pa.repeat(kind, bins), pa.array(edges[:-1]), pa.array(edges[1:]), pa.array(counts)]
            if len(mine):
                tables.append(pa.table(columns, names=HISTOGRAM.names).cast(HISTOGRAM))
    return pa.concat_tables(tables) if tables else HISTOGRAM.empty_table()


def suspects(selected: Selected, probability: Floats, labels: Codes, number: int, can_tell: bool, split: str = "") -> pa.Table:
    """The negatives in training files that are most likely relevant (:data:`SUSPECTS`), best estimate first.

    Reviewed as relevant; then by calibrated probability, label evidence, the teacher's activated score, the ratio of the dense score to the
    least of the positives': each pair by the first of these that it has. Reviewed as not relevant, now or before: not listed.

    Args:
        selected: the selection.
        probability: (candidates,) calibrated, NaN: unknown.
        labels: (candidates,) of a review: 1, 0, -1 unsure, -2 none.
        number: how many to list.
        can_tell: whether the teacher can tell relevant from not; if not, label evidence comes before its calibrated score.
        split: of :meth:`tasks.truth.selected.Selected.written`.
    """
    rows = np.flatnonzero(selected.emitted & selected.written(split)[selected.query] & (labels != 0) & ~selected.trusted_zero)
    least = selected.score("positive_dense_score_min")
    ratio = np.divide(selected.score("dense_score"), least, out=np.full(len(least), np.nan), where=least > 0)
    found: Mapping[str, Floats] = {
        "review": np.where(labels == 1, 1.0, np.nan),
        "calibrated": probability,
        "label_evidence": selected.score("label_evidence"),
        "teacher": selected.score("teacher_sigmoid"),
        "dense ratio": ratio,
    }
    names = list(found) if can_tell else ["review", "label_evidence", "calibrated", "teacher", "dense ratio"]
    values = np.stack([found[name][rows] for name in names], axis=1)
    basis = np.where(np.isfinite(values).any(axis=1), np.isfinite(values).argmax(axis=1), len(names))
    suspicion = np.append(values, np.full((len(rows), 1), np.nan), axis=1)[np.arange(len(rows)), basis]
    order = np.lexsort((_places(selected, rows), -suspicion, basis))[:number]
    order = order[basis[order] < len(names)]
    listed = selected.scored.take(pa.array(rows[order]))
    probable = np.isin(basis[order], [names.index(name) for name in _PROBABLE])
    columns = {name: listed[name] for name in SUSPECTS.names if name in listed.column_names}
    columns["basis"] = pa.array(names, pa.string()).take(pa.array(basis[order]))
    columns["suspicion"] = pa.array(suspicion[order], pa.float64())
    columns["probability"] = pa.array(suspicion[order], pa.float64(), mask=~probable)
    return pa.table(columns).select(SUSPECTS.names).cast(SUSPECTS)


def served(rows: pa.Table, num_negatives: int, stage_negatives: Mapping[str, int]) -> pa.Table:
    """query_id and served: whether all training rows of a query, of all stages, have the negatives that they should; by query_id.

    Args:
        rows: stage, query_id, positive_id, slot.
        num_negatives: that a row should have.
        stage_negatives: the same for single stages.
    """
    cases = " ".join(f"WHEN {quote_literal(stage)} THEN {int(count)}" for stage, count in stage_negatives.items())
    wanted = f"CASE stage {cases} ELSE {int(num_negatives)} END" if cases else str(int(num_negatives))
    return run(
        f"""WITH each AS (SELECT stage, query_id, positive_id, count(*) FILTER (slot > 0) AS n FROM rows GROUP BY ALL)
            SELECT query_id, bool_and(n >= {wanted}) AS served FROM each GROUP BY query_id ORDER BY query_id""",
        {"rows": rows.select(["stage", "query_id", "positive_id", "slot"])},
    )


def slices_table(selected: Selected, full: pa.Table) -> pa.Table:
    """:data:`SLICES`, slice ``all`` first.

    Args:
        selected: the selection.
        full: of :func:`served`.
    """
    negatives = selected.by_query(1.0, selected.emitted)
    hardness = selected.by_query(np.nan_to_num(selected.score("dense_score")), selected.emitted)
    complete = set(full["query_id"].filter(full["served"]).to_pylist())
    done = np.array([query in complete for query in selected.queries["query_id"].to_pylist()], dtype=bool)
    made = []
    for one in selected.slices:
        mine = one.queries & selected.trained
        count, number = int(mine.sum()), float(negatives[mine].sum())
        if count:
            made.append(
                {
                    "slice": one.name,
                    "value_of_slice": "" if one.name == "all" else one.value,
                    "queries": count,
                    "served": float(done[mine].mean()),
                    "negatives": int(number),
                    "hardness": float(hardness[mine].sum() / number) if number else None,
                    "small": count < SMALL,
                }
            )
    return pa.Table.from_pylist(made, SLICES)


def _places(selected: Selected, rows: Codes) -> Codes:
    """Place of each row by query_id and doc_id, to break ties."""
    table = selected.scored.select(["query_id", "doc_id"]).take(pa.array(rows)).append_column("at", pa.array(np.arange(len(rows))))
    order = table.sort_by([("query_id", "ascending"), ("doc_id", "ascending")])["at"].to_numpy()
    place = np.empty(len(rows), dtype=np.int64)
    place[order] = np.arange(len(rows))
    return place
