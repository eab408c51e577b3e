"""Our own recipe on a table that can be checked on paper."""

import pytest

from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe
from tasks.select.stage import select
from tests.select.tables import SOURCES, ranked, table

FACTS = Facts(num_negatives=5, max_positives=1)


def rows():
    """p is the positive (logit 1); d2 … d12 are candidates of falling score."""
    scores = [0.9, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5, 0.45, 0.4, 0.35, 0.3]
    evidence = [None, 0.95, 0.82, 0.85, 0.2, 0.5, 0.65, 0.1, 0.1, 0.1, 0.1, 0.1]
    logits = [1.0, -4.0, 1.5, -4.0, -4.0, 1.0, None, None, None, None, None, None]
    return ranked(
        scores,
        positives=("d1",),
        label_evidence=evidence,
        teacher_logit=logits,
        positive_containment=[None] * 12,
        duplicate_cluster=list(range(12)),
    )


def decided(wanted, facts=FACTS):
    decisions, _ = select(table(rows()), compose_recipe(wanted, facts), SOURCES, 0, "s")
    return {row["doc_id"]: row for row in decisions.to_pylist()}


def test_evidence_and_teacher_are_weighed_together():
    """r = evidence + 0.05 · (logit − 1); unscored: 2 below. d2 .95 − .25 = .70; d3 .82 + .025 = .845, refused; d4 .85 − .25 = .60;
    d5 .2 − .25 = −.05; d6 .5 + 0 = .5; d7 .65 − .1 = .55; d8 … d12 .1 − .1 = 0.

    Hard: the first four that are left: d2, d4, d5, d6. Medium: one of survivors 5 to 15: d7 … d12."""
    found = decided("hardmine")
    assert found["d3"]["reasons"] == ["likely_relevant"]
    hard = [doc for doc, row in found.items() if row["draw"] == "hard"]
    assert sorted(hard) == ["d2", "d4", "d5", "d6"]
    (medium,) = [doc for doc, row in found.items() if row["draw"] == "medium"]
    assert medium in {f"d{number}" for number in range(7, 13)}
    assert [found[doc]["slot"] for doc in ("d2", "d4", "d5", "d6", medium)] == [1, 2, 3, 4, 5]


def test_negatives_near_the_ceiling_weigh_less():
    """Weight 1 − 0.5 · (r − 0.5) / 0.3, at most 1: d2 (.70) 2/3, d4 (.60) 5/6, d5 and d6 (.5) 1."""
    found = decided("hardmine")
    weights = {doc: found[doc]["weight"] for doc in ("d2", "d4", "d5", "d6")}
    assert weights == pytest.approx({"d2": 2 / 3, "d4": 5 / 6, "d5": 1.0, "d6": 1.0}, abs=1e-6)


def test_backfill_takes_the_least_relevant_of_the_refused():
    """At a ceiling of −0.04 only d5 (−.05) is left. Of the refused, d8 … d12 (r = 0) are least likely: d10, d11, d12, d8 by id."""
    found = decided({"name": "hardmine", "ceiling": -0.04})
    assert [doc for doc, row in found.items() if row["draw"] == "hard"] == ["d5"]
    assert sorted(doc for doc, row in found.items() if row["draw"] == "backfill") == ["d10", "d11", "d12", "d8"]
    assert {found[doc]["weight"] for doc in ("d8", "d10", "d11", "d12")} == {0.5}


def test_one_negative_is_hard_and_needs_no_medium():
    found = decided("hardmine", Facts(num_negatives=1, max_positives=1))
    assert [(doc, row["draw"]) for doc, row in found.items() if row["decision"] == "negative"] == [("d2", "hard")]


def test_without_a_teacher_the_evidence_decides():
    """d2 .95, d3 .82 and d4 .85 are refused."""
    plain = [{**row, "teacher_logit": None} for row in rows()]
    decisions, _ = select(table(plain), compose_recipe("hardmine", FACTS), SOURCES, 0, "s")
    found = {row["doc_id"]: row for row in decisions.to_pylist()}
    assert [found[doc]["reasons"] for doc in ("d2", "d3", "d4")] == [["likely_relevant"]] * 3
    assert [found[doc]["draw"] for doc in ("d5", "d6", "d7", "d8")] == ["hard"] * 4


def test_one_of_a_cluster_of_near_copies():
    copies = [{**row, "duplicate_cluster": 7 if row["doc_id"] in ("d5", "d6", "d7") else row["duplicate_cluster"] + 100} for row in rows()]
    decisions, _ = select(table(copies), compose_recipe("hardmine", FACTS), SOURCES, 0, "s")
    found = {row["doc_id"]: row for row in decisions.to_pylist()}
    assert found["d5"]["decision"] == "negative"
    assert [found[doc]["reasons"] for doc in ("d6", "d7")] == [["duplicate_cluster_limit"]] * 2
