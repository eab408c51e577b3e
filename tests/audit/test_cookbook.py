import re
from pathlib import Path

import pytest

from tasks.audit.build import build_audit, latest_audit
from tasks.audit.tables import TABLES
from tasks.audit.views import MACROS
from tasks.sql import ask, sandboxed
from tests.audit.library import library
from tests.audit.world import new_world

COOKBOOK = (Path(__file__).parents[2] / "docs/cookbook.md").read_text(encoding="utf-8")
QUERIES = {title: query for title, query in re.findall(r"^## (.+?)\n(?:(?!^## ).)*?^```sql\n(.+?)^```", COOKBOOK, re.MULTILINE | re.DOTALL)}

EXPECTED = {
    "The most suspicious negatives": [
        ("toy", "q1", "b", 0.95, "calibrated", 0.95, ["top"], 1),  # e of q1 and b of careful are in no training row
        ("toy", "q3", "a", 0.7, "calibrated", 0.7, ["top"], 3),
        ("toy", "q3", "d", 0.5, "calibrated", 0.5, ["careful", "top"], 1),
        ("toy", "q2", "c", None, "label_evidence", 0.75, ["careful"], 2),  # the teacher can tell: label evidence comes after it
        ("toy", "q2", "f", None, "label_evidence", 0.625, ["top"], None),
    ],
    "Which queries a recipe serves badly": [
        ("toy", 1, "top", "language", "de", 8, 0.5, 0.5, True),
        ("toy", 1, "top", "language", "en", 32, 0.96875, 0.5, False),
    ],
    "Rates of false negatives, with intervals": [
        ("toy", 1, "careful", "planted_survival", 0.125, 0.0, 0.25, 6, 35),
        ("toy", 1, "careful", "review", 0.0625, 0.0, 0.25, 6, 40),
        ("toy", 1, "top", "calibrated_teacher", 0.375, None, None, 6, 40),
        ("toy", 1, "top", "planted_survival", 0.5, 0.25, 0.75, 6, 35),
        ("toy", 1, "top", "review", 0.25, 0.125, 0.5, 6, 40),
    ],
    "What caution costs": [
        ("toy", 1, "careful", 0.0625, 2.35 / 3, 1 / 3),  # means of (c d), (c), (d): 0.65, 0.8, 0.9; q2 and q3 got one of two
        ("toy", 1, "top", 0.25, 2.05 / 3, 1.0),  # (b c), (c f), (d a): 0.8, 0.45, 0.8
        ("toy", 2, "top", None, 1.9 / 3, 1.0),  # (c d), (c f), (d a): 0.65, 0.45, 0.8
    ],
    "Slices that are too small to lean on": [("toy", 1, "top", "review", "language", "de", 8, 0.5, 0.0, 1.0)],
    "Calibration, ready to plot": [
        ("toy", 1, None, 0.25, 0.125, 10, 0.9, 0.1, "can tell", "review"),
        ("toy", 1, None, 0.75, 0.875, 10, 0.9, 0.1, "can tell", "review"),
    ],
    "The hardest queries": [
        ("toy", 1, "q3", 4, 0.6, 3),  # d, e and a are above c
        ("toy", 2, "q3", 4, 0.6, 3),
        ("toy", 1, "q1", 2, 0.8, 1),  # b
        ("toy", 1, "q2", 1, 0.9, 0),
        ("toy", 2, "q1", 1, 0.9, 0),  # b has become a positive
        ("toy", 2, "q2", 1, 0.9, 0),
    ],
    "Queries that did not get all their negatives, and why": [
        ("toy", 1, "careful", "q2", 1, 2, ["planted", "unscored"]),
        ("toy", 1, "careful", "q3", 1, 2, ["labelled", "teacher_ceiling"]),
    ],
    "Hubs": [
        *(("toy", 1, "careful", doc, 2) for doc in "cd"),
        ("toy", 1, "top", "c", 2),
        *(("toy", 2, "top", doc, 2) for doc in "cd"),
        *(("toy", 1, "top", doc, 1) for doc in "abdf"),
        *(("toy", 2, "top", doc, 1) for doc in "af"),
    ],
    "Negatives that recipes share": [
        ("toy", 1, "careful", 1, "top", 3, (1 / 3 + 1 / 2 + 1 / 2) / 3, 3 / 4),  # c of b c d; c of c f; d of d a
        ("toy", 1, "top", 2, "top", 3, (1 / 3 + 1 + 1) / 3, 5 / 6),
    ],
    "How stale negatives have become": [
        # half of the loss share at first is lost, nothing of the control's: all of it memorised
        # .75 − .5 became easy; the overlap is .9375 − .875 under the floor
        ("toy", 1, 2, "top", 0.5, 0.25, 0.5, 0.5, 0.5, 0.75, 0.25, 0.875, 0.0625, 1, 1),
    ],
    "When to mine again": [
        ("toy", 1, "top", "trained", 0.5, 0.25, 1.0, 100.0, 2),
        ("toy", 1, "top", "control", 0.5, 0.5, None, None, 2),
    ],
    "What changed between rounds": [
        ("toy", 2, "top", "negative", "positive", 1),  # b of q1
        ("toy", 2, "top", "not_drawn", "negative", 1),  # d of q1 in its place
    ],
    "One pair's story": [
        (1, "careful", None, "rejected", ["teacher_ceiling"], None, None, 0, 0.97),
        (1, "top", None, "negative", [], 1, 0.5, 1, 0.97),
        (2, "top", "negative", "positive", [], None, None, 1, 0.97),
    ],
    "Why candidates were refused": [
        ("toy", 1, "careful", "teacher_ceiling", 2, 4, 2 / 6),
        *(("toy", 1, "careful", reason, 1, 1, 1 / 6) for reason in ("duplicate", "labelled", "planted", "unscored")),
        *(("toy", number, "top", reason, 1, 1, 1 / 3) for number in (1, 2) for reason in ("duplicate", "labelled", "planted")),
    ],
    "Where to put a ceiling on the teacher's score": [  # not positive: 0.97 0.3 0.1 0.99, 0.2 0.65, 0.55 0.4 0.75
        ("toy", ceiling, 1.0, over / 9) for ceiling, over in [(0.5, 5), (0.6, 4), (0.7, 3), (0.8, 2), (0.9, 2)]
    ],
    "Copies of positives among the candidates": [("toy", number, "q1", "e", "positive", 5) for number in (1, 2)],
    "Planted positives that nothing else would have refused": [
        ("toy", 1, "careful", 1, 0),
        ("toy", 1, "top", 1, 1),
        ("toy", 2, "top", 1, 1),
    ],
    "Judged zeros that rank high": [("toy", 1, "q3", "e", "rank, above positives", 2, 0.4)],  # round 2 has no measures
    "What the teacher expects, and what reviewers found": [
        ("toy", 1, "careful", "held-out labels", 6, 0.5, 1.5, 0.75, 3.0, 0.0625),
        ("toy", 1, "top", "held-out labels", 6, 1.5, 1.5, 0.75, 3.0, 0.25),
        ("toy", 1, "top", "review", 6, 1.25, 1.5, 0.75, 3.0, 0.125),
    ],
    "Where the negatives come from": [("toy", 1, "careful", 4, 0), ("toy", 1, "top", 5, 1), ("toy", 2, "top", 5, 1)],
    "How scores are distributed": [
        ("toy", 1, recipe, *rest)
        for recipe in ("careful", "top")
        for rest in [("negative", 0.0, 0.5, 1), ("negative", 0.5, 1.0, 5), ("positive", 0.5, 1.0, 3)]
    ],
    "Labels that are not the source's own": [("toy", 2, "promoted", 1, 1)],
    "What was promoted, by which signals": [("toy", 1, 1, ["label_evidence", "teacher"], 1, 1, True)],
    "Promoted pairs that a later round doubts": [("toy", 1, "q1", "b", 0.97, 2, 0.485)],  # calibrated: half of the raw
    "Which checkpoint ranks best": [
        ("toy", "dev", "nDCG@10", 0.75, 0.625, 0.875, 1, "top", 4),
        ("toy", "dev", "nDCG@10", 0.5, 0.375, 0.625, None, None, None),
    ],
    "What training cost": [("toy", 1, "retriever", "top", 4, 3.0, 15.0)],
    "What a round cost": [  # 1.5 s: 3 shared, scored, a feature, 2 selections, 2 measures, calibration; then scored and one selection
        ("toy", 1, 15.0, 4 + 12, 1.0),
        ("toy", 2, 4.5, 12, 1.0),  # and staleness
    ],
    "What the caches saved": [
        ("toy", 1, "embed-documents", 4, 1, 1 / 5),
        ("toy", 1, "scored", 12, 4, 4 / 16),
        ("toy", 2, "embed-documents", 0, 1, 1.0),
        ("toy", 2, "scored", 12, 4, 4 / 16),
    ],
}


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory):
    world = new_world(tmp_path_factory.mktemp("cookbook"))
    library(world)
    build_audit(world.storage)
    with sandboxed(latest_audit(world.storage)) as database:
        yield database


def test_every_query_of_the_cookbook_is_tested():
    assert set(QUERIES) == set(EXPECTED)
    assert COOKBOOK.count("```sql") == len(QUERIES) >= 15
    for title in QUERIES:
        sentence = COOKBOOK.split(f"## {title}\n\n")[1].split("\n\n")[0]
        assert sentence.endswith(".")
        assert "\n" not in sentence


@pytest.mark.parametrize("title", EXPECTED)
def test_cookbook(snapshot, title):
    found = [tuple(row.values()) for row in ask(snapshot, QUERIES[title]).to_pylist()]
    assert len(found) == len(EXPECTED[title])
    for row, expected in zip(found, EXPECTED[title], strict=True):
        assert [value for value in row if not isinstance(value, float)] == [value for value in expected if not isinstance(value, float)]
        numbers = [value for value in expected if isinstance(value, float)]
        assert [value for value in row if isinstance(value, float)] == pytest.approx(numbers, rel=1e-6)


def test_the_cookbook_reads_all_tables_but_input_errors_and_staleness():
    used = set(re.findall(r"\w+", " ".join(QUERIES.values())))
    left = {"rejected_input", "staleness", "stages", "rows", "decision_counts", "rejections", "suspected", "metric_slices", "outlays"}
    left |= {"asks", "judgements", "judge_agreement", "written", "writings"}  # empty without a language model: docs/judges.md
    assert {*TABLES, *MACROS} - used <= left
