"""One good selection, and one breach of each kind made from it."""

import pyarrow as pa
import pytest

from tasks import schema
from tasks.errors import GateError
from tasks.gate.inspect import inspect
from tasks.gate.report import WHAT, check
from tasks.gate.stage import STAGE, GateSettings, jobs
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context, run_stage
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.storage import open_storage

DOCS = {"a": "alpha", "b": "beta", "c": "gamma", "d": "ALPHA ", "e": "zero?", "f": "alpha"}  # d and f copy a; e is the query


class Silent:
    def start(self, stage, unit, total, done): ...
    def advance(self, stage, units): ...
    def finish(self, manifest, cached): ...


def line(slot, doc, row_no=0, positive="a", **other):
    return {
        "selection_id": "s",
        "stage": "main",
        "epoch": 0,
        "row_no": row_no,
        "query_id": "q0",
        "positive_id": positive,
        "slot": slot,
        "doc_id": doc,
        "query_row": 0,
        "doc_partition": 0,
        "doc_row": list(DOCS).index(doc) if doc in DOCS else 99,
        **other,
    }


def candidate(doc, rank, score, **other):
    return {
        "query_id": "q0",
        "doc_id": doc,
        "query_row": 0,
        "doc_partition": 0,
        "doc_row": list(DOCS).index(doc),
        "is_positive": doc == "a",
        "dense_rank": rank,
        "dense_score": score,
        **other,
    }


def decision(doc, what, **other):
    return {"selection_id": "s", "stage": "main", "query_id": "q0", "doc_id": doc, "decision": what, "reason": what, "reasons": [], **other}


GOOD = {
    "training": [line(0, "a"), line(1, "b"), line(2, "c")],
    "scored": [candidate("a", 1, 0.9), candidate("b", 2, 0.8), candidate("c", None, 0.7)],
    "decisions": [decision("a", "positive"), decision("b", "negative"), decision("c", "negative")],
}


def tables(world):
    documents = [
        {"doc_partition": 0, "doc_row": n, "doc_id": i, "input_hash": x, "norm_hash": x.lower().strip()}
        for n, (i, x) in enumerate(DOCS.items())
    ]
    return {
        "training": pa.Table.from_pylist(world["training"], schema=schema.ROWS),
        "scored": pa.Table.from_pylist(world["scored"], schema=schema.scored(["dense", "bm25"])),
        "decisions": pa.Table.from_pylist(world["decisions"], schema=schema.DECISIONS),
        "documents": pa.Table.from_pylist(documents),
        "queries": pa.Table.from_pylist([{"query_id": "q0", "input_hash": "zero?", "norm_hash": "zero?", "row": 0}]),
    }


def found(settings=None, **changes):
    facts = inspect(tables({**GOOD, **changes}), settings or GateSettings(num_negatives=2))
    return {kind: count for kind, count in facts["violations"].items() if count}, facts


def with_negative(doc, score=0.5):
    """The good selection with one more negative."""
    return {
        "training": [*GOOD["training"], line(3, doc)],
        "scored": [*GOOD["scored"], candidate(doc, 3, score)],
        "decisions": [*GOOD["decisions"], decision(doc, "negative")],
    }


def test_a_good_selection_passes():
    kinds, facts = found()
    assert kinds == {}
    assert set(facts["violations"]) == set(WHAT)
    assert (facts["anchor_rows"], facts["negatives"], facts["short_rows"], facts["candidates"]) == (1, 2, 0, 3)


def test_short_rows_are_reported_only():
    kinds, facts = found(GateSettings(num_negatives=5))
    assert kinds == {}
    assert (facts["short_rows"], facts["missing_negatives"]) == (1, 3)


@pytest.mark.parametrize(
    ("kind", "changes", "count"),
    [
        ("negative_is_positive", {"scored": [*GOOD["scored"][:2], candidate("c", None, 0.7, is_positive=True)]}, 1),
        ("copy_of_positive", with_negative("d"), 1),
        ("copy_of_positive", with_negative("f"), 1),
        ("copy_of_query", with_negative("e"), 1),
        ("non_finite_score", {"scored": [*GOOD["scored"][:2], candidate("c", None, float("-inf"))]}, 1),
        ("non_finite_score", {"scored": [*GOOD["scored"][:2], candidate("c", None, None)]}, 1),
        ("non_finite_score", {"scored": [*GOOD["scored"][:2], candidate("c", None, 0.7, teacher_logit=float("nan"))]}, 1),
        ("duplicate_negative", {"training": [*GOOD["training"], line(3, "c")]}, 1),
        ("unresolved_id", {"training": [*GOOD["training"][:2], line(2, "c", doc_row=0)]}, 1),
        ("unresolved_id", {"training": [*GOOD["training"][:2], line(2, "c", doc_partition=7)]}, 1),
        ("unresolved_id", {"training": [line(s, d, query_row=4) for s, d in enumerate("abc")]}, 3),
        ("score_order", {"scored": [candidate("a", 1, 0.8), candidate("b", 2, 0.9), candidate("c", None, 0.7)]}, 1),
        ("score_order", {"scored": [candidate("a", 1, 0.9), candidate("b", 1, 0.9), candidate("c", None, 0.7)]}, 1),
        ("score_order", {"scored": [candidate("a", 1, 0.9, bm25_rank=2, bm25_score=9.0),
                                    candidate("b", 2, 0.8, bm25_rank=1, bm25_score=8.0), GOOD["scored"][2]]}, 1),
        ("slots", {"training": [line(0, "a"), line(1, "b"), line(3, "c")]}, 1),
        ("slots", {"training": [line(0, "a"), line(1, "b"), line(0, "a", positive="b"), line(1, "c", positive="b")]}, 2),
        ("decision_count", {"decisions": [*GOOD["decisions"], GOOD["decisions"][1]]}, 1),
        ("decision_count", {"decisions": GOOD["decisions"][1:]}, 1),
        ("decision_count", {"decisions": [*GOOD["decisions"], decision("f", "rejected")]}, 1),
        ("undecided_negative", {"decisions": [*GOOD["decisions"][:2], decision("c", "rejected")]}, 1),
    ],
)  # fmt: skip
def test_each_breach_is_found(kind, changes, count):
    kinds, facts = found(**changes)
    assert kinds[kind] == count
    assert len(facts["examples"][kind]) == count
    assert all(place["query_id"] == "q0" and place["detail"] for place in facts["examples"][kind])


def test_a_breach_is_of_its_kind_only():
    assert found(**with_negative("d"))[0] == {"copy_of_positive": 1}
    assert found(**with_negative("e"))[0] == {"copy_of_query": 1}
    facts = found(**with_negative("f"))[1]
    assert facts["examples"]["copy_of_positive"] == [{"query_id": "q0", "doc_id": "f", "row_no": 0, "detail": "exact copy of a"}]
    assert found(**with_negative("d"))[1]["examples"]["copy_of_positive"][0]["detail"] == "normalised copy of a"


def test_copies_are_allowed_where_the_recipe_allows_them():
    assert found(GateSettings(num_negatives=2, duplicates=False), **with_negative("d"))[0] == {}


def test_scores_within_the_tolerance_may_swap():
    swapped = [candidate("a", 1, 0.9), candidate("b", 2, 0.9000005), candidate("c", None, 0.7)]
    assert found(scored=swapped)[0] == {}
    assert found(GateSettings(tolerance=1e-9), scored=swapped)[0] == {"score_order": 1}


def test_decisions_for_each_positive_are_not_repeats():
    apart = [decision(doc, what, positive_id=p) for p in "ab" for doc, what in (("a", "positive"), ("b", "negative"), ("c", "negative"))]
    assert found(decisions=apart)[0] == {}


def test_an_empty_partition_passes():
    assert found(training=[], scored=[], decisions=[])[0] == {}


def test_the_stage_and_its_verdict(tmp_path):
    storage = open_storage(str(tmp_path))
    world = tables({**GOOD, **with_negative("f")})
    docs = pa.Table.from_pylist(
        [{"doc_id": i, "text": x, "input_hash": x, "norm_hash": x.lower().strip()} for i, x in DOCS.items()], schema=schema.DOCS
    )
    queries = pa.Table.from_pylist([{"query_id": "q0", "input_hash": "zero?", "norm_hash": "zero?"}], schema=schema.QUERIES)

    def part(stage, index, **files):
        out = Output(storage, f"in/{stage}")
        for name, table in files.items():
            out.table(f"{name}.parquet", table)
        return Part(stage=stage, key=stage, index=index, files=tuple(out.files))

    inputs = (
        [part("select", "q0000", rows=world["training"], decisions=world["decisions"])],
        [part("scored", "q0000", scored=world["scored"])],
        [part("queries", "q0000", queries=queries)],
        [part("documents", "d0000", docs=docs)],
    )
    context = Context(storage, lambda: InlineExecutor(1), Silent())
    report = check(run_stage(context, STAGE, jobs("s", *inputs, GateSettings(num_negatives=3))).parts)
    assert not report.passed
    assert report.as_json()["violations"]["copy_of_positive"] == 1
    with pytest.raises(GateError, match=r"1 negatives that are copies of a positive[\s\S]*query 'q0', document 'f': exact copy of a"):
        report.raise_if_failed()
    fine = check(run_stage(context, STAGE, jobs("s", *inputs, GateSettings(num_negatives=3, duplicates=False))).parts)
    fine.raise_if_failed()
    assert fine.counts == {"candidates": 4, "anchor_rows": 1, "negatives": 3, "short_rows": 0, "missing_negatives": 0}
