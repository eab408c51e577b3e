"""The stages that measure: numbers worked out on tables of a few rows, through real stages."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hsettings
from hypothesis import strategies as st

from tasks.calibration import Calibration
from tasks.errors import InputError, UsageError
from tasks.folds import group_draws
from tasks.schema import ESTIMATES, HISTOGRAM, PAIRS, QUERIES, RELIABILITY, candidates
from tasks.select.recipe import Recipe
from tasks.select.rules.scores import MaxScore
from tasks.select.task import probe, select
from tasks.store.tables import read_table
from tasks.truth.held_out import labelled_pairs, untrained
from tasks.truth.pictures import SLICES, SUSPECTS
from tasks.truth.settings import CalibrationSettings, EstimateSettings
from tasks.truth.task import Review, calibrate, measure
from tests.retrieve.build import commit, context
from tests.select.tables import table

SOURCES = ["dense"]


# calibrate


def world(queries):
    """queries: for each its candidates (how many, logit, kind); the tables of candidates, scores, queries."""
    rows, pairs = [], []
    for query, groups in enumerate(queries):
        for logit, kind in [(logit, kind) for count, logit, kind in groups for _ in range(count)]:
            row = {"query_id": f"q{query:03d}", "doc_id": f"d{len(rows)}", "is_positive": kind == "positive", "planted": kind == "planted"}
            row |= {"relevance": {"unlabelled": None, "far": None, "zero": 0}.get(kind, 1), "dense_rank": 80 if kind == "far" else 5}
            row |= {"query_hash": f"{query:032x}", "doc_hash": f"{len(rows):032x}"}
            rows.append(row)
            if logit is not None:
                pairs.append({"query_hash": row["query_hash"], "doc_hash": row["doc_hash"], "logit": logit})
    asked = [{"query_id": f"q{query:03d}", "text": "", "group": None} for query in range(len(queries))]
    return tabled(rows, candidates(SOURCES)), pa.Table.from_pylist(pairs, PAIRS), tabled(asked, QUERIES)


def tabled(rows, schema):
    return pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema)


def spread(positives, unlabelled, logit):
    """A query for each positive; the unlabelled candidates spread over them."""
    share = [(number + 1) * unlabelled // positives - number * unlabelled // positives for number in range(positives)]
    return [[(1, logit, "positive"), (count, logit, "unlabelled")] for count in share]


def calibrated(tmp_path, queries, held_out="all", splits=None, **settings):
    setting = context(tmp_path)
    mined, pairs, asked = world(queries)
    if splits:
        asked = asked.set_column(asked.schema.get_field_index("split"), "split", pa.array(splits, pa.string()))
    half = pairs.num_rows // 2
    parts = {
        "candidates": [commit(setting.storage, "candidates", "q0000", {"candidates.parquet": mined})],
        "scores": [
            commit(setting.storage, "score", f"q0000.b00{number}", {"pairs.parquet": piece})
            for number, piece in enumerate((pairs.slice(0, half), pairs.slice(half)))
        ],
        "queries": [commit(setting.storage, "queries", "q0000", {"queries.parquet": asked})],
    }
    manifest = calibrate(setting, **parts, sources=SOURCES, depth=50, held_out=held_out, settings=CalibrationSettings(**settings))
    (part,) = manifest.parts
    assert manifest.counters == {"model_calls": 0}
    return setting, part


def fitted(setting, part):
    return Calibration.model_validate_json(Path(setting.storage.root, part.file("calibration.json").path).read_bytes())


def test_isotonic_by_hand(tmp_path):
    """At logit 2: 8 positives of 10; at -2: 2 of 20. AUC: (8·18 + ½(8·2 + 2·18)) / (10·20) = 0.85."""
    setting, part = calibrated(tmp_path, [*spread(8, 2, 2.0), *spread(2, 18, -2.0)], kind="isotonic")
    found = fitted(setting, part)
    assert (found.kind, found.source, found.n, found.n_relevant) == ("isotonic", "held-out labels, uncalibrated for counts", 30, 10)
    assert not found.gives_counts
    assert (found.knots, found.values) == ((-2.0, 2.0), (pytest.approx(0.1), pytest.approx(0.8)))
    assert part.meta["auc"] == pytest.approx(0.85)
    assert {name: part.meta[name] for name in ("verdict", "positives", "pairs", "kind", "source")} == {
        "verdict": "can tell", "positives": 10, "pairs": 30, "kind": "isotonic", "source": found.source,
    }  # fmt: skip
    bins = read_table(setting.storage, part.file("reliability.parquet"))
    assert bins.schema == RELIABILITY
    assert sum(bins["pairs"].to_pylist()) == 30 and sum(bins["weight"].to_pylist()) == pytest.approx(1)
    assert np.dot(bins["observed"].to_numpy(), bins["weight"].to_numpy()) == pytest.approx(1 / 3)


def test_a_teacher_that_cannot_tell(tmp_path):
    """One logit for all: the constant (10 + ½) / (40 + 1), and an AUC of one half."""
    setting, part = calibrated(tmp_path, spread(10, 30, 1.0))
    found = fitted(setting, part)
    assert found.kind == part.meta["kind"] == "platt"
    assert 1 / (1 + np.exp(-found.intercept)) == pytest.approx(10.5 / 41)
    assert (part.meta["auc"], part.meta["verdict"]) == (0.5, "cannot tell")


def test_what_does_not_calibrate(tmp_path):
    """Planted positives, judged zeros, what lies beyond the depth or has no score: with them all is as without."""
    plain = spread(10, 30, 1.0)
    more = [(4, 5.0, "planted"), (4, 5.0, "zero"), (4, 5.0, "far"), (4, None, "unlabelled")]
    mixed = [[*one, more[number % 4]] for number, one in enumerate(plain)]
    first, second = (calibrated(tmp_path / str(number), queries) for number, queries in enumerate((plain, mixed)))
    assert second[1].meta["positives"] == 10
    assert fitted(*second).intercept == fitted(*first).intercept


def test_queries_without_a_positive_do_not_count():
    mined, pairs, queries = world([[(1, 1.0, "positive"), (3, 0.0, "unlabelled")], [(4, 0.0, "unlabelled")]])
    found = labelled_pairs(mined, pairs, untrained(queries, "all", 5), SOURCES, 50, 1000)
    assert (found.positives, len(found.score)) == (1, 4)


def test_what_reads_as_a_planted_pair_does_not_calibrate():
    """q001 asks as q000 does, and one of its three unlabelled documents reads as what q000 hides: 1 + 1 labelled and 3 + 2 others stay."""
    mined, pairs, queries = world(
        [[(1, 1.0, "positive"), (3, 0.0, "unlabelled"), (1, 0.5, "planted")], [(1, 1.0, "positive"), (3, 0.0, "unlabelled")]]
    )
    rows, planted = mined.to_pylist(), 4
    assert rows[planted]["planted"]
    rows[6] |= {name: rows[planted][name] for name in ("query_hash", "doc_hash")}
    found = labelled_pairs(tabled(rows, mined.schema), pairs, untrained(queries, "all", 5), SOURCES, 50, 1000)
    assert (found.positives, len(found.score)) == (2, 7)


def test_drawn_candidates_stand_for_all():
    """1 positive and 9 unlabelled ones in three queries; 3 are drawn and weigh 3 each."""
    mined, pairs, queries = world([[(1, 1.0, "positive"), (3, 0.0, "unlabelled")]] * 3)
    found = labelled_pairs(mined, pairs, untrained(queries, "all", 5), SOURCES, 50, 3)
    assert found.weight.tolist() == [1, 1, 1, 3, 3, 3]


@hsettings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6)), min_size=1, max_size=6), st.integers(1, 8))
def test_weights_add_up_to_the_candidates(queries, most):
    mined, pairs, asked = world([[(positives, 1.0, "positive"), (rest, 0.0, "unlabelled")] for positives, rest in queries])
    found = labelled_pairs(mined, pairs, untrained(asked, "all", 3), SOURCES, 50, most)
    population = sum(rest for positives, rest in queries if positives)
    assert found.positives == sum(positives for positives, _ in queries)
    assert (~found.label).sum() == min(population, most)
    assert found.weight[~found.label].sum() == pytest.approx(population)


def test_queries_that_a_teacher_held_out():
    """By groups as the teacher's training draws them: a group goes as a whole."""
    names = [f"q{number:03d}" for number in range(200)]
    queries = pa.table({"query_id": names, "group": [None if number % 2 else f"g{number // 4}" for number in range(200)]})
    queries = queries.append_column("split", pa.nulls(200, pa.string()))
    found = untrained(queries, {"holdout": 0.3, "seed": 5}, 4)
    groups = [group or name for name, group in zip(names, queries["group"].to_pylist(), strict=True)]
    expected = {name for name, draw in zip(names, group_draws(groups, 5).tolist(), strict=True) if draw / 2**64 < 0.3}
    assert set(found["query_id"].to_pylist()) == expected and 30 < len(expected) < 90
    folds = {}
    for name, fold in zip(found["query_id"].to_pylist(), found["fold"].to_pylist(), strict=True):
        folds.setdefault(dict(zip(names, groups, strict=True))[name], set()).add(fold)
    assert all(len(each) == 1 for each in folds.values())
    assert len({fold for each in folds.values() for fold in each}) == 4  # held-out groups are spread over all folds
    assert untrained(queries, "all", 4).num_rows == 200


@pytest.mark.parametrize("split", ["dev", "Test"])
def test_labels_that_choose_or_test_calibrate_nothing(tmp_path, split):
    """Ten queries that train; the last one's label is of dev or test, and changes no byte."""
    own = spread(10, 30, 1.0)
    made = []
    for number, kinds in enumerate((("positive", "unlabelled"), ("unlabelled", "positive"))):
        other = [(1, logit, kind) for logit, kind in zip((4.0, -4.0), kinds, strict=True)]
        setting, part = calibrated(tmp_path / str(number), [*own, other], splits=[None, *["train"] * 9, split])
        assert (part.meta["positives"], part.meta["pairs"]) == (10, 40)
        made.append(Path(setting.storage.root, part.file("calibration.json").path).read_bytes())
    assert made[0] == made[1]


@pytest.mark.parametrize("held_out", ["all", {"holdout": 0.01, "seed": 0}])
def test_queries_that_calibrate_count_alone(tmp_path, held_out):
    """Ten queries of split calibration with 30 unlabelled candidates, all of them unseen; twelve others tell nothing."""
    queries = [*spread(10, 30, 1.0), *spread(12, 12, 5.0)]
    splits = ["calibration", "Calibration"] * 5 + ["train", "dev", None] * 4
    setting, part = calibrated(tmp_path, queries, held_out, splits)
    assert (part.meta["positives"], part.meta["pairs"]) == (10, 40)
    assert fitted(setting, part).intercept == fitted(*calibrated(tmp_path / "alone", spread(10, 30, 1.0))).intercept


def test_too_few_labels(tmp_path):
    setting, part = calibrated(tmp_path, spread(9, 30, 1.0))
    assert (part.meta["verdict"], part.meta["positives"], part.meta["auc"]) == ("too few labels", 9, None)
    assert [file.name for file in part.files] == ["reliability.parquet"]
    assert read_table(setting.storage, part.file("reliability.parquet")).num_rows == 0


def test_nothing_was_scored(tmp_path):
    assert calibrated(tmp_path, spread(12, 30, None))[1].meta["verdict"] == "too few labels"


# measure

LIKELY = {"d1": 0.4, "d2": 0.2, "d3": 0.1, "d4": 0.05}


def rows(query, hidden):
    """A positive of its own at 0.95, then d1 … d4 at 0.9 … 0.6, one of them planted."""
    docs = [f"p{query[1:]}", "d1", "d2", "d3", "d4"]
    return [
        {
            "query_id": query,
            "doc_id": doc,
            "dense_rank": place + 1,
            "dense_score": score,
            "is_positive": place == 0,
            "planted": doc == hidden,
            "relevance": 1 if place == 0 or doc == hidden else None,
            "teacher_logit": 4.0 - place,
            "teacher_sigmoid": 0.5,
            "teacher_calibrated": LIKELY.get(doc, 0.9),
        }
        for place, (doc, score) in enumerate(zip(docs, (0.95, 0.9, 0.8, 0.7, 0.6), strict=True))
    ]


class World:
    """q1 hides d2, q2 hides d4. The best two: q1 d1 and d3, q2 d1 and d2. Probed: q1 d1 and d2 (emitted), q2 d1 and d2 (d4 is not)."""

    def __init__(self, tmp_path, recipe=None, change=None, hidden=("d2", "d4")):
        """change: other values of a (query, document), of a document, or of all (None)."""
        self.context, change = context(tmp_path), change or {}
        names = [f"q{number:0{len(str(len(hidden)))}d}" for number in range(1, len(hidden) + 1)]
        found = [rows(query, planted) for query, planted in zip(names, hidden, strict=True)]
        for row in [row for query in found for row in query]:
            row.update(change.get((row["query_id"], row["doc_id"])) or change.get(row["doc_id"]) or change.get(None, {}))
        parts = [table(query, SOURCES) for query in found]
        self.scored = [self.part("scored", {"scored.parquet": part}, number) for number, part in enumerate(parts)]
        asked = [{"query_id": query, "text": "two words", "language": "en"} for query in names]
        self.queries = [self.part("queries", {"queries.parquet": tabled([one], QUERIES)}, number) for number, one in enumerate(asked)]
        self.recipe = recipe or Recipe(num_negatives=2)
        self.decided = self.select(self.recipe)

    def part(self, stage, files, number=0):
        return commit(self.context.storage, stage, f"q{number:04d}", files)

    def select(self, recipe):
        return select(self.context, self.scored, recipe, SOURCES, "c", 0)[0].parts

    def measure(self, probed=True, settings=None, **more):
        probes = probe(self.context, self.scored, self.recipe, SOURCES, "c", 0).parts if probed else ()
        chosen = EstimateSettings(**{"num_negatives": 2, "batch_sizes": (2,), **(settings or {})})
        manifest = measure(self.context, self.scored, self.decided, self.queries, SOURCES, chosen, probes, **more)
        assert manifest.counters == {"model_calls": 0}
        (part,) = manifest.parts
        return Outcome(self.context.storage, part)

    def qrels(self, *relevant, files=None):
        pairs = [{"query_id": query, "doc_id": doc, "relevance": grade} for query, doc, grade in relevant]
        return self.part("truth", {"qrels.parquet": pa.Table.from_pylist(pairs), **(files or {})})


class Outcome:
    def __init__(self, storage, part):
        self.part, self.meta = part, part.meta
        self.tables = {file.name.split(".")[0]: read_table(storage, file) for file in part.files if file.name.endswith("parquet")}
        self.rows = self.tables["estimates"].to_pylist()

    def rate(self, estimator, name="all", value=""):
        (found,) = [row for row in self.rows if (row["estimator"], row["slice"], row["value_of_slice"]) == (estimator, name, value)]
        return found

    @property
    def estimators(self):
        return {row["estimator"] for row in self.rows}


def reviewed(*answers, inclusion=1.0):
    """answers: (query, doc, label), all of one stratum."""
    names = ("query_id", "doc_id", "label")
    listed = [dict(zip(names, answer, strict=True)) | {"stratum": 0, "inclusion": inclusion, "note": "x"} for answer in answers]
    return pa.Table.from_pylist(listed)


def test_survival_and_the_teacher_alone(tmp_path):
    """Survival 1 of 2. The teacher: (0.4 + 0.1 + 0.4 + 0.2) / 4 = 0.275. No middle term: no leak by planted positives."""
    found = World(tmp_path).measure()
    assert found.tables["estimates"].schema == ESTIMATES
    survival = found.rate("planted_survival")
    assert (survival["rate"], survival["pairs"], survival["queries"], survival["small"], survival["level"]) == (0.5, 2, 2, True, 0.95)
    assert "no rate of negatives" in survival["note"]
    weighted = found.rate("planted_survival_weighted")  # two planted pairs are one stratum: nothing to weigh
    assert weighted["rate"] == 0.5 and "not for counts" in weighted["note"]
    teacher = found.rate("calibrated_teacher")
    assert teacher["rate"] == pytest.approx(0.275) and teacher["pairs"] == 4
    assert teacher["low"] < 0.275 < teacher["high"] and "no count" in teacher["note"]
    assert found.estimators == {
        "planted_survival", "planted_survival_weighted", "calibrated_teacher",
    }  # fmt: skip
    assert {(row["slice"], row["value_of_slice"]) for row in found.rows if row["estimator"] == "planted_survival"} == {
        ("all", ""), ("length", "up to 3 words"), ("language", "en"), ("positives", "2–4"), ("difficulty", "rank 1"),
        ("rank × score", "rank ≤ 2, score 0.5–0.8 + rank 2–5, score 0.5–0.8"),
    }  # fmt: skip
    # p and the planted one: two positives, as in the slices of yield, and of the measures of ranking
    assert ("positives", "2–4") in {(row["slice"], row["value_of_slice"]) for row in found.tables["slices"].to_pylist()}
    assert found.meta["estimates"]["planted_survival"] == [survival[name] for name in ("rate", "low", "high", "pairs", "note")]
    assert (found.meta["yield"], found.meta["negatives"]) == (1.0, 4)
    assert found.meta["hardness"] == pytest.approx((0.9 + 0.7 + 0.9 + 0.8) / 4)
    json.dumps(found.meta)


def test_survival_weighted_to_the_unlabelled(tmp_path):
    """Twenty queries: ten hide d2 (rank 3, emitted), ten d4 (rank 50 here, not emitted).

    Weights of the unlabelled: rank ≤ 2: d1, 20 × 0.4 = 8; rank ≤ 5: d3, 20 × 0.1, and d2 of ten, 10 × 0.2: 4; rank ≤ 50: d4 of ten, 0.5.
    Nothing is planted at rank ≤ 2 (64 % of the weight): it goes with rank ≤ 5. (12 · 1 + 0.5 · 0) / 12.5 = 0.96.
    """
    world = World(tmp_path, hidden=["d2"] * 10 + ["d4"] * 10, change={"d4": {"dense_rank": 50}})
    found = world.measure()
    assert found.rate("planted_survival")["rate"] == 0.5
    weighted = found.rate("planted_survival_weighted")
    assert weighted["rate"] == pytest.approx(0.96) and (weighted["pairs"], weighted["queries"]) == (20, 20)
    assert "64% of their weight lies where nothing is planted" in weighted["note"]
    strata = [row for row in found.rows if row["slice"] == "rank × score"]
    told = {row["value_of_slice"]: (row["estimator"], row["rate"], row["pairs"], row["queries"], row["small"]) for row in strata}
    assert told == {
        "rank ≤ 2, score 0.5–0.8 + rank 2–5, score 0.5–0.8": ("planted_survival", 1.0, 10, 10, True),
        "rank 20–50, score 0.5–0.8": ("planted_survival", 0.0, 10, 10, True),
    }
    assert "96% of the likely relevant unlabelled candidates lie here" in strata[0]["note"] and strata[0]["low"] < 1
    # judged: d3 of the last ten is relevant, that is 0.5 a query; 0.96 × 0.5 ÷ 2
    truth = world.qrels(*[(f"q{number:02d}", "d3" if number > 10 else "p", 1) for number in range(1, 21)])
    leak = world.measure(settings={"judged": "exhaustive"}, truth=truth).rate("planted")
    assert leak["rate"] == pytest.approx(0.24)
    assert leak["low"] < 0.24 < leak["high"]


def test_a_teacher_that_cannot_tell_weighs_nothing(tmp_path):
    """What it calls relevant lies where all candidates lie."""
    world = World(tmp_path, hidden=["d2"] * 10 + ["d4"] * 10, change={"d4": {"dense_rank": 50}})
    found = world.measure(can_tell=False)
    assert found.rate("planted_survival")["rate"] == 0.5
    assert "planted_survival_weighted" not in found.estimators
    truth = world.qrels(*[(f"q{number:02d}", "d3" if number > 10 else "p", 1) for number in range(1, 21)])
    leak = world.measure(can_tell=False, settings={"judged": "exhaustive"}, truth=truth).rate("planted")
    assert leak["rate"] == pytest.approx(0.125)  # 0.5 × 0.5 ÷ 2


def test_a_truth_gives_counts(tmp_path):
    """Relevant: (q1, d1), (q2, d3). Negatives: 1 of 4. Planted: 0.5 × 1 relevant a query ÷ 2 emitted = 0.25.

    In a batch of both rows (q1, pq2) is relevant and (q2, pq1) is not: 1 of 2 pairs, 1 of 2 rows.
    """
    world = World(tmp_path)
    truth = world.qrels(("q1", "d1", 1), ("q2", "d3", 2), ("q1", "p1", 1), ("q2", "p2", 1), ("q1", "p2", 1), ("q2", "d2", 0))
    found = world.measure(settings={"judged": "both"}, truth=truth)
    assert (found.rate("judged")["rate"], found.rate("judged")["pairs"], found.rate("judged")["queries"]) == (0.25, 4, 2)
    # (q2, d2) is an explicit zero: if zeros are not trusted it is unknown, and 1 of 3 is relevant
    unsure = world.measure(settings={"judged": "exhaustive"}, truth=truth)
    assert (unsure.rate("judged")["rate"], unsure.rate("judged")["pairs"]) == (pytest.approx(1 / 3), 3)
    assert "explicit zeros are unknown; 1 of 4 negatives are not judged" in unsure.rate("judged")["note"]
    leak = found.rate("planted")
    assert leak["rate"] == 0.25 and leak["note"] == "survival × 1.00 unlabelled relevant a query (judged) ÷ 2.00 emitted"
    assert [found.rate(name, "batch_size", "2")["rate"] for name in ("in_batch_pairs", "in_batch_rows")] == [0.5, 0.5]
    assert found.meta["estimates"]["in_batch_pairs"][0] == 0.5
    # grades of 2 or more: (q2, d3) alone, no negative; 0.5 × ½ ÷ 2
    strict = world.measure(settings={"judged": "exhaustive", "min_grade": 2}, truth=truth)
    assert (strict.rate("judged")["rate"], strict.rate("planted")["rate"]) == (0.0, 0.125)


def test_trusted_zeros_leave_bounds(tmp_path):
    """Judged: (q1, d1) relevant, (q2, d2) not: 1 of 2. The other two negatives may be either: the ends lie outside of 1/4 and 3/4."""
    world = World(tmp_path)
    truth = world.qrels(("q1", "d1", 1), ("q2", "d2", 0))
    row = world.measure(settings={"judged": "trusted_zeros"}, truth=truth).rate("judged")
    assert (row["rate"], row["pairs"], row["queries"]) == (0.5, 2, 2) and row["low"] < 1 / 4 and row["high"] > 3 / 4
    assert row["note"].endswith("; 2 of 4 negatives are not judged: the ends hold whatever they are")
    # the same, where what is not listed is not relevant: 1 of 4, and nothing is left open
    both = world.measure(settings={"judged": "both"}, truth=truth).rate("judged")
    assert (both["rate"], both["pairs"]) == (0.25, 4) and "not judged" not in both["note"]


def test_the_leak_by_a_review_is_within_the_teachers_reach(tmp_path):
    """Twenty queries, all negatives reviewed: d1 is relevant, d2 and d3 are not. d4 is out of the teacher's reach and has no score.

    By the calibration d1 alone is relevant: 1.00 a query; nothing is said of d4, of which half would be by the share of all reviewed.
    Planted in reach: d2 of the first ten, all emitted. 1.0 × 1.00 ÷ 2 = 0.5. Planted d4 of the others, not emitted: in survival alone.
    """
    world = World(tmp_path, hidden=["d2"] * 10 + ["d4"] * 10, change={"d4": dict.fromkeys(("teacher_logit", "teacher_sigmoid"))})
    names = [f"q{number:02d}" for number in range(1, 21)]
    answers = [(name, "d1", "relevant") for name in names] + [(name, "d3" if at < 10 else "d2", "not") for at, name in enumerate(names)]
    settings = {"depth": 4, "review": {"calibration": "isotonic"}}
    found = world.measure(settings=settings, reviews=[Review(reviewed(*answers))])
    assert found.rate("planted_survival")["rate"] == 0.5
    leak = found.rate("planted")
    assert leak["rate"] == pytest.approx(0.5) and (leak["pairs"], leak["queries"]) == (10, 10)
    assert leak["note"] == (
        "survival × 1.00 unlabelled relevant a query (by the review's calibration) ÷ 2.00 emitted; all three of pairs with the teacher's "
        "score alone; what the calibration may be off by is not in the interval"
    )


def test_only_judged_queries_count(tmp_path):
    """q2 alone is judged: of its d1 and d2 the second is relevant."""
    world = World(tmp_path)
    asked = {"queries.parquet": pa.table({"query_id": ["q2"]})}
    found = world.measure(settings={"judged": "exhaustive"}, truth=world.qrels(("q2", "d2", 1), ("q1", "d1", 1), files=asked))
    assert (found.rate("judged")["rate"], found.rate("judged")["pairs"]) == (0.5, 2)
    assert found.rate("planted")["rate"] == 0.25  # one relevant for q2, two emitted
    assert found.rate("in_batch_pairs", "batch_size", "2")["pairs"] == 1  # q2 with q1's positive


def test_trusted_zeros(tmp_path):
    """(q1, d1) is judged 0 and (q1, d3) 1: one of two. Without a middle term there is no leak by planted positives."""
    world = World(tmp_path)
    found = world.measure(settings={"judged": "trusted_zeros"}, truth=world.qrels(("q1", "d1", 0), ("q1", "d3", 1)))
    assert (found.rate("judged")["rate"], found.rate("judged")["pairs"]) == (0.5, 2)
    assert "planted" not in found.estimators


def test_declared_labels_of_the_round_itself(tmp_path):
    """Exhaustive: what is not labelled is not relevant. Zeros: no negative is labelled, so nothing is counted."""
    world = World(tmp_path)
    exhaustive = world.measure(settings={"judged": "exhaustive"}).rate("judged")
    assert (exhaustive["rate"], exhaustive["pairs"]) == (0.0, 4) and "as declared" in exhaustive["note"]
    assert "judged" not in world.measure(settings={"judged": "trusted_zeros"}).estimators


def test_judgements_must_say_what_they_mean(tmp_path):
    world = World(tmp_path)
    with pytest.raises(UsageError, match="not what they say"):
        world.measure(truth=world.qrels(("q1", "d1", 1)))
    with pytest.raises(InputError, match="none of its judged queries is in the round"):
        world.measure(settings={"judged": "both"}, truth=world.qrels(("q9", "d1", 1)))


def test_an_empty_partition_changes_nothing(tmp_path):
    world, other = World(tmp_path / "a"), World(tmp_path / "b")
    empty = other.part("scored", {"scored.parquet": table([], SOURCES)}, 2)
    other.scored.append(empty)
    other.decided = other.select(other.recipe)
    other.queries.append(other.part("queries", {"queries.parquet": QUERIES.empty_table()}, 2))
    assert other.measure().rows == world.measure().rows


def test_a_census_is_exact(tmp_path):
    """All four negatives are reviewed, one is relevant: 1/4 with and without the teacher; the middle term is the review's."""
    world = World(tmp_path)
    labels = reviewed(("q1", "d1", "relevant"), ("q1", "d3", "not"), ("q2", "d1", "not"), ("q2", "d2", "not"))
    found = world.measure(reviews=[Review(labels)])
    for name in ("review", "review_design"):
        row = found.rate(name)
        assert [row[key] for key in ("rate", "low", "high")] == pytest.approx([0.25] * 3) and (row["pairs"], row["queries"]) == (4, 2)
        assert row["note"] == "1 of 4 reviewed are relevant"
    assert "(by the review's calibration) ÷ 2.00 emitted" in found.rate("planted")["note"]
    # the teacher expects 1.1 of the four, one is relevant: (0.6² + 0.1² + 0.4² + 0.2²) / 4
    (check,) = found.meta["review_check"]
    assert (check["expected"], check["observed"], check["brier"]) == pytest.approx((1.1, 1.0, (0.36 + 0.01 + 0.16 + 0.04) / 4))
    assert (check["calibration"], check["pairs"], check["emitted"]) == ("held-out labels", 4, 4.0)
    assert (check["low"], check["high"]) == pytest.approx((1.0, 1.0))  # a census
    assert found.meta["calibration"] is None and "not for counts" in found.rate("calibrated_teacher")["note"]  # four are too few
    # reviewed as relevant comes first, as not relevant is left out
    assert found.tables["suspects"].select(["query_id", "doc_id", "basis"]).to_pylist() == [
        {"query_id": "q1", "doc_id": "d1", "basis": "review"}
    ]


def test_unsure_gives_bounds(tmp_path):
    """Sure: 1 of 2; the unsure one may be either: the ends lie outside of 1/3 and 2/3."""
    world = World(tmp_path)
    pairs = (("q1", "d1", "relevant"), ("q1", "d3", "unsure"), ("q2", "d1", "not"), ("q2", "d2", None))
    found = world.measure(reviews=[Review(reviewed(*pairs, inclusion=0.5))])
    row = found.rate("review_design")
    assert row["rate"] == 0.5 and row["note"] == "1 of 3 reviewed are relevant; 1 unsure: the ends hold whatever they are"
    for name in ("review", "review_design"):
        assert found.rate(name)["low"] < 1 / 3 and found.rate(name)["high"] > 2 / 3
    # the ends of the labels alone hold those of three answers, with the unsure one as not relevant and as relevant
    least, most = (
        world.measure(reviews=[Review(reviewed(*((*pair[:2], told if pair[2] == "unsure" else pair[2]) for pair in pairs), inclusion=0.5))])
        for told in ("not", "relevant")
    )
    assert row["low"] <= least.rate("review_design")["low"] < 1 / 3 and 2 / 3 < most.rate("review_design")["high"] <= row["high"]


def test_a_review_of_other_recipes(tmp_path):
    """The sample was drawn from the best one of each query: (q1, d1) and (q2, d1). The other two negatives could not be drawn."""
    world = World(tmp_path)
    frame = world.select(Recipe(num_negatives=1))
    labels = reviewed(("q1", "d1", "relevant"), ("q2", "d1", "not"))
    found = world.measure(reviews=[Review(labels, frame)])
    assert found.rate("review")["rate"] == pytest.approx(0.5)
    assert found.rate("review")["note"].endswith("50% of the negatives were not there to be drawn and are not in it")
    # of two reviews the one that says more of this selection counts
    both = world.measure(
        reviews=[Review(labels, frame), Review(reviewed(*[("q1", "d1", "not"), ("q1", "d3", "not"), ("q2", "d2", "not")]))]
    )
    assert both.rate("review_design")["rate"] == 0.0


def test_a_review_without_answers_changes_nothing(tmp_path):
    world = World(tmp_path)
    found = world.measure(reviews=[Review(reviewed(("q1", "d1", None), ("q9", "d1", "relevant")))])
    assert "review" not in found.estimators and "planted" not in found.estimators
    assert found.meta["review_check"] == []


def test_a_review_calibrates_the_teacher(tmp_path):
    """Twenty queries, d1 (logit 3) and d3 (logit 1) each, all reviewed: 15 and 5 are relevant, so 20 of 40 whatever the labels said.

    A planted pair that somebody reviewed does not count. On labels the teacher expects 20 × 0.4 + 20 × 0.1 = 10.
    """
    world = World(tmp_path, hidden=["d2"] * 20)
    names = [f"q{number:02d}" for number in range(1, 21)]
    answers = [(name, "d1", "relevant" if at < 15 else "not") for at, name in enumerate(names)]
    answers += [(name, "d3", "relevant" if at < 5 else "not") for at, name in enumerate(names)]
    found = world.measure(reviews=[Review(reviewed(*answers, ("q01", "d2", "not")))])
    teacher = found.rate("calibrated_teacher")
    assert teacher["rate"] == pytest.approx(0.5, abs=0.03) and teacher["pairs"] == 40
    assert "calibrated on the review (20 of 40 relevant), out of fold" in teacher["note"] and "no count" not in teacher["note"]
    kept = found.meta["calibration"]
    assert (kept["source"], kept["pairs"], kept["positives"], kept["kind"], kept["verdict"]) == ("review", 40, 20, "platt", "can tell")
    assert kept["auc"] == pytest.approx((15 * 15 + (15 * 5 + 5 * 15) / 2) / 400)  # 15 of 20 at logit 3, 5 of 20 at logit 1
    labels, review = found.meta["review_check"]
    assert (labels["calibration"], labels["expected"], labels["observed"]) == ("held-out labels", pytest.approx(10), 20)
    assert (review["calibration"], review["observed"], review["low"], review["high"]) == ("review", 20, 20, 20)  # a census
    assert review["expected"] == pytest.approx(20, abs=1.2) and review["brier"] < labels["brier"]
    assert sum(found.tables["reliability"]["pairs"].to_pylist()) == 40
    assert fitted(world.context, found.part).gives_counts
    # with fewer answers the calibration on labels stays
    assert "not for counts" in world.measure(reviews=[Review(reviewed(*answers[:29]))]).rate("calibrated_teacher")["note"]


def test_settings_reach_what_they_are_for(tmp_path):
    """Confidence of every interval; strata of planted positives; from how many answers a review calibrates, and what its AUC must be."""
    world = World(tmp_path)
    assert {row["level"] for row in world.measure(settings={"level": 0.8}).rows} == {0.8}
    labels = reviewed(("q1", "d1", "relevant"), ("q1", "d3", "not"), ("q2", "d1", "not"), ("q2", "d2", "not"))
    given = {"review": {"calibrate_from": 4}, "calibration": {"auc_floor": 0.9}}
    found = world.measure(settings=given, reviews=[Review(labels)])
    # of the logits 3 (relevant), 1, 3 and 2 (not) one pair of three is a tie: AUC (0.5 + 1 + 1) / 3
    assert (found.meta["calibration"]["auc"], found.meta["calibration"]["verdict"]) == (pytest.approx(2.5 / 3), "cannot tell")
    given["calibration"]["auc_floor"] = 0.8
    assert world.measure(settings=given, reviews=[Review(labels)]).meta["calibration"]["verdict"] == "can tell"


def test_the_dataset_is_a_slice(tmp_path):
    found = World(tmp_path).measure(dataset="toy")
    assert found.rate("calibrated_teacher", "dataset", "toy")["rate"] == found.rate("calibrated_teacher")["rate"]
    assert next(row for row in found.tables["slices"].to_pylist() if row["slice"] == "dataset")["value_of_slice"] == "toy"


def test_in_batch_rates_by_slice(tmp_path):
    """Of the pairs (q1, pq2) and (q2, pq1) the first is relevant; q2 speaks another language."""
    world = World(tmp_path)
    queries = [{"query_id": "q2", "text": "two words", "language": "de"}]
    world.queries[1] = world.part("queries", {"queries.parquet": tabled(queries, QUERIES)}, 1)
    found = world.measure(settings={"judged": "exhaustive"}, truth=world.qrels(("q1", "p2", 1), ("q2", "d3", 1)))
    shares = {value: found.rate("in_batch_rows", "language", value) for value in ("en", "de")}
    assert [shares[value]["rate"] for value in ("en", "de")] == [1.0, 0.0] and shares["en"]["small"]
    assert shares["en"]["note"].startswith("batches of 2; ")


def test_promoted_pairs_are_no_judgements(tmp_path):
    """(q1, d4) was promoted: a row of its own. In the one batch q1 meets d4, p2 and p1, p2, and q2 meets p1, d4: (q1, p1) is relevant.

    The truth does not list (q1, d4): 1 of 6. By the round's own labels it is unknown: 1 of 5.
    """
    promoted = {"relevance": 1, "is_positive": True, "provenance": "promoted"}
    world = World(tmp_path, hidden=("d2", "d2"), change={("q1", "d4"): promoted})
    truth = world.qrels(("q1", "p1", 1), ("q2", "p2", 1))
    given = {"judged": "both", "batch_sizes": (3,)}
    listed = world.measure(settings=given, truth=truth).rate("in_batch_pairs", "batch_size", "3")
    own = world.measure(settings=given).rate("in_batch_pairs", "batch_size", "3")
    assert (listed["rate"], listed["pairs"]) == (pytest.approx(1 / 6), 6)
    assert (own["rate"], own["pairs"]) == (0.2, 5)


def test_unknown_zeros_are_in_no_batch_rate(tmp_path):
    """q2's positive is an explicit zero of q1: with zeros that are not trusted only (q2, p1) is left of two pairs."""
    world = World(tmp_path)
    truth = world.qrels(("q1", "p2", 0), ("q1", "p1", 1), ("q2", "p2", 1))
    for kind, pairs in (("exhaustive", 1), ("both", 2)):
        assert world.measure(settings={"judged": kind}, truth=truth).rate("in_batch_pairs", "batch_size", "2")["pairs"] == pairs


def test_histogram_kinds(tmp_path):
    """Bins of width 0.175 from 0.6: planted 0.8 and 0.6; positives 0.95 twice; negatives 0.9, 0.7, 0.9, 0.8. The rest was passed over."""
    found = World(tmp_path).measure(settings={"bins": 2}).tables["histogram"]
    assert found.schema == HISTOGRAM
    dense = [row for row in found.to_pylist() if row["score"] == "dense_score"]
    counts = {kind: [row["pairs"] for row in dense if row["kind"] == kind] for kind in ("planted", "positive", "negative")}
    assert counts == {"planted": [1, 1], "positive": [0, 2], "negative": [1, 3]}
    assert len(dense) == 6 and dense[0]["low"] == pytest.approx(0.6) and dense[0]["high"] == pytest.approx(0.775)
    assert {row["score"] for row in found.to_pylist()} == {"dense_score", "teacher_logit"}


def test_rejections_that_mean_relevant_are_suspects(tmp_path):
    """A limit of 0.85 rejects d1 of both queries."""
    world = World(tmp_path, Recipe(num_negatives=2, rules=(MaxScore(value=0.85, on_null="keep"),)))
    for reasons, kind in (((), "rejected"), (("max_score",), "suspect")):
        found = world.measure(settings={"bins": 1, "suspect_reasons": reasons}).tables["histogram"].to_pylist()
        kinds = {row["kind"]: row["pairs"] for row in found if row["score"] == "dense_score"}
        assert kinds == {"planted": 2, "positive": 2, "negative": 4, kind: 2}


def listed(found):
    assert found.tables["suspects"].schema == SUSPECTS
    return [(row["query_id"], row["doc_id"], row["basis"]) for row in found.tables["suspects"].to_pylist()]


def test_the_most_suspicious_first(tmp_path):
    world = World(tmp_path)
    found = world.measure()
    assert listed(found) == [(*pair, "calibrated") for pair in (("q1", "d1"), ("q2", "d1"), ("q2", "d2"), ("q1", "d3"))]
    assert found.tables["suspects"]["probability"].to_pylist() == pytest.approx([0.4, 0.4, 0.2, 0.1])
    assert listed(world.measure(settings={"suspects": 1})) == [("q1", "d1", "calibrated")]


def test_suspects_are_of_training_files(tmp_path):
    """q2 chooses: files hold none of its rows, unless its split is what was asked for."""
    world = World(tmp_path)
    asked = {"query_id": "q2", "text": "two words", "language": "en", "split": "Dev"}
    world.queries[1] = world.part("queries", {"queries.parquet": tabled([asked], QUERIES)}, 1)
    assert listed(world.measure()) == [("q1", "d1", "calibrated"), ("q1", "d3", "calibrated")]
    assert len(listed(world.measure(settings={"split": "dev"}))) == 4


def test_suspects_by_what_there_is(tmp_path):
    """Evidence of q1 d1 and q2 d2 alone: for a teacher that cannot tell it comes first. Without all: 0.9/0.95 is the highest ratio."""
    world = World(tmp_path / "evidence")
    evidence = [
        world.part("feature-evidence", {"features.parquet": pa.table({"label_evidence": pa.array(values, pa.float32())})}, number)
        for number, values in enumerate(([0.3, None, None, None, None], [None, 0.7, None, None, None]))
    ]
    found = world.measure(evidence=evidence, can_tell=False)
    assert listed(found) == [
        ("q2", "d2", "label_evidence"), ("q1", "d1", "label_evidence"), ("q2", "d1", "calibrated"), ("q1", "d3", "calibrated"),
    ]  # fmt: skip
    assert found.tables["suspects"]["probability"].to_pylist()[:2] == [None, None]
    assert "cannot tell" in found.rate("calibrated_teacher")["note"]
    nothing = dict.fromkeys(("teacher_logit", "teacher_sigmoid", "teacher_calibrated"))
    found = World(tmp_path / "none", change={None: nothing}).measure()
    assert listed(found)[0] == ("q1", "d1", "dense ratio")
    assert found.tables["suspects"]["suspicion"][0].as_py() == pytest.approx(0.9 / 0.95)
    assert found.estimators == {"planted_survival"}


def test_yield_by_slice(tmp_path):
    """Three negatives are wanted and two are there: nobody is served."""
    found = World(tmp_path).measure(settings={"num_negatives": 3, "stage_negatives": {"main": 3}})
    slices = found.tables["slices"]
    assert slices.schema == SLICES
    first = slices.to_pylist()[0]
    assert first | {"hardness": None} == {
        "slice": "all", "value_of_slice": "", "queries": 2, "served": 0.0, "negatives": 4, "hardness": None, "small": True,
    }  # fmt: skip


def test_what_a_reviewer_called_not_relevant_is_no_suspect_zero(tmp_path):
    change = {("q1", "d1"): {"relevance": 0, "provenance": "reviewed"}}
    found = World(tmp_path, change=change).measure()
    assert (found.meta["suspect_zeros"], found.meta["zeros"]) == (0, 0)


def test_what_an_earlier_review_called_not_relevant_is_no_suspect(tmp_path):
    """(q1, d1) is a negative, a trusted zero, and would be listed first; a reviewed positive grade is no zero."""
    found = World(tmp_path, change={("q1", "d1"): {"relevance": 0, "provenance": "reviewed"}}).measure()
    assert found.meta["negatives"] == 4
    assert listed(found) == [(*pair, "calibrated") for pair in (("q2", "d1"), ("q2", "d2"), ("q1", "d3"))]


def test_a_reviewed_zero_may_be_a_negative_and_is_judged(tmp_path):
    """(q1, d1) is a reviewed zero among the four negatives: known to be not relevant, by zeros or as not listed."""
    world = World(tmp_path, change={("q1", "d1"): {"relevance": 0, "provenance": "reviewed"}})
    for kind, pairs in (("trusted_zeros", 1), ("both", 4), ("exhaustive", 4)):
        row = world.measure(settings={"judged": kind}).rate("judged")
        assert (row["rate"], row["pairs"]) == (0.0, pairs)


def test_suspect_zeros_are_told(tmp_path):
    """An explicit zero at rank 2 of q1: it is no negative, and looks relevant."""
    found = World(tmp_path, change={("q1", "d1"): {"relevance": 0}}).measure()
    assert found.tables["suspect_zeros"].select(["query_id", "doc_id", "why"]).to_pylist() == [
        {"query_id": "q1", "doc_id": "d1", "why": "rank"}
    ]
    assert (found.meta["suspect_zeros"], found.meta["zeros"]) == (1, 1)
    assert found.meta["first_zeros"] == [["q1", "d1", 2, "rank"]]


def test_equal_inputs_give_equal_bytes(tmp_path):
    first, second = (World(tmp_path / str(number)).measure() for number in range(2))
    assert [file.checksum for file in first.part.files] == [file.checksum for file in second.part.files]


def test_a_selection_without_negatives(tmp_path):
    found = World(tmp_path, Recipe(num_negatives=0, draws=())).measure(settings={"num_negatives": 0})
    assert found.rate("planted_survival")["rate"] == 0.0
    assert (found.meta["yield"], found.meta["hardness"], found.meta["negatives"]) == (1.0, None, 0)
    assert listed(found) == []
