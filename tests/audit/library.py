"""A dataset of three queries and two rounds with everything that rounds record: recipes, measures, calibration, planted positives.

Asked for: 2 negatives. Dense scores fall with the dense rank: 0.9, 0.8, … in round 1.

query  positive  candidates by dense rank (teacher's probability)
q1     a (2nd)   b (0.97), a, c (0.3), d (0.1), e (0.99, a copy of the positive)
q2     b (1st)   b, c (0.2), d (0.65, planted), then f: from BM25 only, not scored by the teacher
q3     c (4th)   d (0.55), e (0.4, a judged zero), a (0.75), c
"""

import pyarrow as pa

from tasks import schema
from tasks.audit.checkpoints import EvaluationRecord, TrainingRecord, publish_evaluation, publish_training
from tasks.audit.promotions import publish_promotion
from tasks.audit.records import RoundRecord, SelectionRecord, StageRef, publish_round
from tasks.select.stage import usage
from tests.audit.world import World, stage

_ROWS = {  # doc, dense rank, teacher's probability, what else
    "q1": [("b", 1, 0.97, {}), ("a", 2, 0.92, {}), ("c", 3, 0.3, {}), ("d", 4, 0.1, {}), ("e", 5, 0.99, {"copy_of": "positive"})],
    "q2": [
        ("b", 1, 0.92, {}),
        ("c", 2, 0.2, {}),
        ("d", 3, 0.65, {"relevance": 1, "planted": True}),
        ("f", None, None, {"bm25_rank": 1, "bm25_score": 7.0, "dense_score": 0.1}),
    ],
    "q3": [("d", 1, 0.55, {}), ("e", 2, 0.4, {"relevance": 0}), ("a", 3, 0.75, {}), ("c", 4, 0.92, {})],
}
POSITIVES = {("q1", "a"), ("q2", "b"), ("q3", "c")}

# By selection and query: negatives in order, then reasons by rejected document. What is left was not drawn.
Chosen = dict[str, tuple[str, dict[str, list[str]]]]
TOP: Chosen = {
    "q1": ("bc", {"e": ["duplicate"]}),
    "q2": ("cf", {"d": ["planted"]}),
    "q3": ("da", {"e": ["labelled"]}),
}
CAREFUL: Chosen = {
    "q1": ("cd", {"b": ["teacher_ceiling"], "e": ["duplicate", "teacher_ceiling"]}),
    "q2": ("c", {"d": ["planted", "teacher_ceiling"], "f": ["unscored"]}),
    "q3": ("d", {"e": ["labelled"], "a": ["teacher_ceiling"]}),
}
TOP_AGAIN: Chosen = {  # b has become a positive of q1
    "q1": ("cd", {"e": ["duplicate"]}),
    "q2": ("cf", {"d": ["planted"]}),
    "q3": ("da", {"e": ["labelled"]}),
}


def library(world: World) -> list[RoundRecord]:
    """Publish both rounds; the second has neither measures nor a calibration."""
    scored = _scored(world, "c1", POSITIVES)
    clusters = stage(world.storage, "features-clusters", "clusters-1", {}, model_calls=0)
    top, careful = _selection(world, "s1", "top", TOP, POSITIVES), _selection(world, "s2", "careful", CAREFUL, POSITIVES)
    top = top.model_copy(update={"measures": _measure(world, "s1"), "features": {"clusters": clusters}})
    careful = careful.model_copy(update={"measures": _measure(world, "s2")})
    first = _round(world, "c1", scored, (top, careful)).model_copy(update={"roles": {"calibrate": _calibrate(world)}})
    later = {*POSITIVES, ("q1", "b")}
    promoted = {"query_id": "q1", "doc_id": "b", "score": 3.5, "signals": ["label_evidence", "teacher"], "teacher_probability": 0.97}
    publish_promotion(world.storage, "toy", 1, "c1", {}, pa.Table.from_pylist([promoted], schema.PROMOTIONS))
    _train_and_measure(world)
    again = _selection(world, "s3", "top", TOP_AGAIN, later)
    second = _round(world, "c2", _scored(world, "c2", later), (again,)).model_copy(update={"staleness": _staleness(world)})
    return [publish_round(world.storage, record) for record in (first, second)]


def _train_and_measure(world):
    """The base model and what was trained from it on round 1."""
    trained = TrainingRecord(
        dataset="toy",
        round=1,
        recipe="top",
        selection_id="s1",
        train=StageRef(stage="train-retriever", key="t1"),
        base="before",
        model="after",
        path="/models/after",
        facts={"steps": 4, "samples": 200, "seconds": 3.0},
    )
    publish_training(world.storage, trained)
    for model, value in (("before", 0.5), ("after", 0.75)):
        measured = {"mean": value, "low": value - 0.125, "high": value + 0.125}
        own = {"model": model, "path": f"/models/{model}", "split": "dev", "queries": 3, "measures": {"nDCG@10": measured}}
        publish_evaluation(world.storage, EvaluationRecord(dataset="toy", round=1, evaluate=StageRef(stage="evaluate", key=model), **own))


def _round(world, candidates, scored, selections) -> RoundRecord:
    return RoundRecord(
        dataset="toy",
        candidate_set_id=candidates,
        selection_id=selections[0].selection_id,
        created="2030-01-01T00:00:00Z",
        selections=selections,
        stages=(*world.shared, scored),
    )


def _scored(world, key, positives) -> StageRef:
    rows = [
        {
            "query_id": query,
            "doc_id": doc,
            "query_row": 0,
            "doc_partition": 0,
            "doc_row": 0,
            "relevance": 1 if (query, doc) in positives else None,
            "is_positive": (query, doc) in positives,
            "planted": False,
            "provenance": "promoted" if positives - POSITIVES and (query, doc) == ("q1", "b") else None,
            "dense_rank": rank,
            "dense_score": 1 - (rank or 9) / 10,
            "teacher_sigmoid": teacher,
            "teacher_calibrated": None if teacher is None else teacher / 2,
            **other,
        }
        for query, found in _ROWS.items()
        for doc, rank, teacher, other in found
    ]
    table = pa.Table.from_pylist(rows, schema=schema.scored(["dense", "bm25"]))
    return stage(world.storage, "scored", f"scored-{key}", {"scored.parquet": table}, model_calls=12, cache_hits=4)


def _selection(world, selection, recipe, chosen: Chosen, positives) -> SelectionRecord:
    parts = []
    for query, (negatives, rejected) in chosen.items():
        decisions = [_decision(selection, query, doc, negatives, rejected, positives) for doc, *_ in _ROWS[query]]
        anchors = sorted(doc for q, doc in positives if q == query)
        rows = [
            {"selection_id": selection, "stage": "main", "epoch": 0, "row_no": number, "query_id": query, "slot": slot, "doc_id": doc}
            for number, anchor in enumerate(anchors)
            for slot, doc in enumerate([anchor, *negatives])
        ]
        table = pa.Table.from_pylist(rows, schema=schema.ROWS)
        parts.append(
            {
                "decisions.parquet": pa.Table.from_pylist(decisions, schema=schema.DECISIONS),
                "rows.parquet": table,
                "usage.parquet": usage(table),
            }
        )
    ref = stage(world.storage, "select", f"select-{selection}", parts)
    return SelectionRecord(selection_id=selection, recipe=recipe, select=ref, num_negatives=2)


def _decision(selection, query, doc, negatives, rejected, positives):
    reasons = rejected.get(doc, [])
    what = "rejected" if reasons else "negative" if doc in negatives else "not_drawn"
    what = "unscored" if reasons == ["unscored"] else "positive" if (query, doc) in positives else what
    return {
        "selection_id": selection,
        "stage": "main",
        "query_id": query,
        "doc_id": doc,
        "decision": what,
        "reason": reasons[0] if reasons else None,
        "reasons": reasons,
        "slot": negatives.index(doc) + 1 if what == "negative" else None,
        "label": 0.0 if what == "negative" else None,
        "weight": 0.5 if what == "negative" else None,
    }


def estimate(estimator, rate, low, high, queries, by="all", value="", pairs=6):
    return {
        "estimator": estimator,
        "slice": by,
        "value_of_slice": value,
        "rate": rate,
        "low": low,
        "high": high,
        "level": 0.95,
        "pairs": pairs,
        "queries": queries,
        "small": queries < 30,
        "note": "",
    }


_ESTIMATES = {
    "s1": [
        estimate("review", 0.25, 0.125, 0.5, 40),
        estimate("calibrated_teacher", 0.375, None, None, 40),
        estimate("planted_survival", 0.5, 0.25, 0.75, 35),
        estimate("review", 0.5, 0.0, 1.0, 8, "language", "de", 3),
        estimate("review", 0.125, 0.0625, 0.25, 32, "language", "en", 3),
    ],
    "s2": [estimate("review", 0.0625, 0.0, 0.25, 40), estimate("planted_survival", 0.125, 0.0, 0.25, 35)],
}
_SUSPECTS = {  # query, document, basis, value; in order. Label evidence gives no probability
    "s1": [
        ("q1", "e", "calibrated", 0.99),
        ("q1", "b", "calibrated", 0.95),
        ("q3", "a", "calibrated", 0.7),
        ("q3", "d", "calibrated", 0.5),
        ("q2", "f", "label_evidence", 0.625),
    ],
    "s2": [("q1", "b", "calibrated", 0.95), ("q3", "d", "calibrated", 0.5), ("q2", "c", "label_evidence", 0.75)],
}
_SLICES = [
    {"slice": by, "value_of_slice": value, "queries": queries, "served": served, "negatives": 6, "hardness": 0.5, "small": queries < 30}
    for by, value, queries, served in [("all", "", 40, 0.875), ("language", "de", 8, 0.5), ("language", "en", 32, 0.96875)]
]
_ZEROS = [{"query_id": "q3", "doc_id": "e", "dense_rank": 2, "dense_score": 0.8, "best_positive": 0.6, "why": "rank, above positives"}]
_CHECKS = {
    "s1": [{"calibration": "held-out labels", "expected": 1.5, "brier": 0.25}, {"calibration": "review", "expected": 1.25, "brier": 0.125}],
    "s2": [{"calibration": "held-out labels", "expected": 0.5, "brier": 0.0625}],
}
_CHECKED = {"pairs": 6, "emitted": 6.0, "observed": 1.5, "low": 0.75, "high": 3.0, "ece": 0.125, "auc": 0.75, "verdict": "can tell"}
_HISTOGRAM = [
    {"score": "dense_score", "kind": kind, "low": low, "high": low + 0.5, "pairs": pairs}
    for kind, low, pairs in [("negative", 0.0, 1), ("negative", 0.5, 5), ("positive", 0.5, 3)]
]


def _measure(world, selection) -> StageRef:
    suspects = [
        {
            "query_id": query,
            "doc_id": doc,
            "dense_rank": 1,
            "basis": basis,
            "suspicion": value,
            "probability": value if basis == "calibrated" else None,
        }
        for query, doc, basis, value in _SUSPECTS[selection]
    ]
    tables = {
        "estimates.parquet": pa.Table.from_pylist(_ESTIMATES[selection], schema=schema.ESTIMATES),
        "histogram.parquet": pa.Table.from_pylist(_HISTOGRAM, schema=schema.HISTOGRAM),
        "suspects.parquet": pa.Table.from_pylist(suspects),
        "suspect_zeros.parquet": pa.Table.from_pylist(_ZEROS),
        **({"slices.parquet": pa.Table.from_pylist(_SLICES)} if selection == "s1" else {}),
    }
    meta = {"review_check": [{**_CHECKED, **check} for check in _CHECKS[selection]]}
    return stage(world.storage, "measure", f"measure-{selection}", tables, meta)


def _staleness(world) -> StageRef:
    """Of top in round 1 under round 2, after one training of 100 steps."""
    named = {"from_round": 1, "selection_id": "s1", "recipe": "top", "age": 1, "steps": 100, "level": 0.95, "queries": 2, "negatives": 4}
    values = {  # measure: trained, control, each now and at first; a control of 0.5 that stays has no half-life
        "loss_share": (0.25, 0.5, 0.5, 0.5),
        "easy_share": (0.75, 0.5, 0.25, 0.5),
        "overlap": (0.875, 1.0, 0.75, 1.0),
    }
    rows = []
    for measure, (trained, first, control, control_first) in values.items():
        floor = 0.9375 if measure == "overlap" else None
        for cohort, value, began in (("trained", trained, first), ("control", control, control_first)):
            told = {"value": value, "low": value - 0.125, "high": value + 0.125, "at_first": began, "agreement_floor": floor}
            rows.append({**named, "cohort": cohort, "measure": measure, **told})
    rows += [{**named, "cohort": "trained", "measure": measure, "value": 1.0} for measure in ("retired", "newly_hard", "gone")]
    table = pa.Table.from_pylist([{name: row.get(name) for name in schema.STALENESS.names} for row in rows], schema=schema.STALENESS)
    return stage(world.storage, "staleness-summary", "staleness-2", {"summary.parquet": table})


def _calibrate(world) -> StageRef:
    bins = [
        {"bin": number, "predicted": 0.25 + number / 2, "observed": observed, "pairs": 10, "weight": 0.5}
        for number, observed in enumerate([0.125, 0.875])
    ]
    meta = {"auc": 0.9, "brier": 0.1, "ece": 0.125, "verdict": "can tell", "source": "review"}
    return stage(world.storage, "calibrate", "calibrate-1", {"reliability.parquet": pa.Table.from_pylist(bins, schema.RELIABILITY)}, meta)
