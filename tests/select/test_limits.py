import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.errors import UsageError
from tasks.gate.inspect import inspect
from tasks.gate.stage import GateSettings
from tasks.runner.runner import run_job
from tasks.schema import OPTIONAL_FEATURES
from tasks.select import hubs, stage
from tasks.select.base import prepare
from tasks.select.diversity import diverse, normalised
from tasks.select.draws import Draw, Random, Top, Weighted
from tasks.select.hubs import Candidates, limit
from tasks.select.limits import Diversity, Limits
from tasks.select.randomness import id_hashes, uniform
from tasks.select.recipe import PseudoPositives, Recipe
from tasks.select.refuse import PAIRS, WANTED, refuse, surplus
from tasks.select.rules.copies import Duplicate
from tasks.select.rules.scores import AbsoluteMargin, TeacherCeiling
from tasks.select.stage import select, usage
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.storage import open_storage
from tasks.store.tables import read_table
from tests.select.tables import SOURCES, ranked, table


def decided(recipe, rows, **given):
    """(decision, reasons) by document."""
    decisions, _ = select(table(rows), recipe, SOURCES, 0, "s", **given)
    return {row["doc_id"]: (row["decision"], row["reasons"]) for row in decisions.to_pylist()}


def negatives(recipe, rows, **given):
    return [doc for doc, (decision, _) in decided(recipe, rows, **given).items() if decision == "negative"]


def of_query(query, scores, positive="p"):
    """A query with a positive and documents with dense scores."""
    found = [{"query_id": query, "doc_id": doc, "dense_score": score} for doc, score in scores.items()]
    return [*found, {"query_id": query, "doc_id": positive, "is_positive": True, "relevance": 1, "dense_score": 1.0}]


def pairs(found):
    return [(row["query_id"], row["doc_id"]) for row in found.to_pylist()]


# within a query


def test_so_many_of_a_cluster_stay_best_first():
    rows = ranked([0.9, 0.8, 0.7, 0.6, 0.5], duplicate_cluster=[1, 1, 2, None, None])
    found = decided(Recipe(limits=Limits(per_duplicate_cluster=1), num_negatives=5), rows)
    assert found["d2"] == ("rejected", ["duplicate_cluster_limit"])
    assert [doc for doc, (decision, _) in found.items() if decision == "negative"] == ["d1", "d3", "d4", "d5"]  # NULL: no limit


def test_the_one_with_fewest_reasons_stays_though_a_draw_waives_the_others():
    rows = ranked([0.9, 0.8], duplicate_cluster=[1, 1], teacher_sigmoid=[None, 0.1])
    draws = (Draw(name="walk"), Draw(name="backfill", waive=("unscored", "duplicate_cluster_limit")))
    recipe = Recipe(rules=(TeacherCeiling(ceiling=0.5, on_null="reject"),), draws=draws, limits=Limits(per_duplicate_cluster=1))
    assert decided(recipe, rows) == {"d1": ("rejected", ["unscored", "duplicate_cluster_limit"]), "d2": ("negative", [])}


def test_a_rejected_document_takes_no_place_of_its_cluster():
    rows = ranked([0.9, 0.8], duplicate_cluster=[1, 1], teacher_sigmoid=[0.9, 0.1])
    recipe = Recipe(rules=(TeacherCeiling(ceiling=0.5, on_null="reject"),), limits=Limits(per_duplicate_cluster=1))
    assert decided(recipe, rows) == {"d1": ("rejected", ["teacher_ceiling"]), "d2": ("negative", [])}


def test_the_parents_limit_counts_what_the_clusters_limit_left():
    """d2 falls to its cluster, so d1 and d3 are the two of the parent, and d4 is the third."""
    rows = ranked([0.9, 0.8, 0.7, 0.6, 0.5], duplicate_cluster=[1, 1, 2, 3, 4], group_id=["A", "A", "A", "A", None])
    found = decided(Recipe(limits=Limits(per_duplicate_cluster=1, per_group=2)), rows)
    assert found["d2"] == ("rejected", ["duplicate_cluster_limit"])
    assert found["d4"] == ("rejected", ["group_limit"])
    assert [doc for doc, (decision, _) in found.items() if decision == "negative"] == ["d1", "d3", "d5"]


def test_clusters_are_counted_for_each_query_and_for_each_positive_judged_apart():
    """Positives 0.8 and 0.4, margin 0: a (0.9) survives for none, b (0.7) for p8 only, c (0.3) for both; b and c are of one cluster."""
    rows = [{"doc_id": doc, "dense_score": s, "duplicate_cluster": 1} for doc, s in (("a", 0.9), ("b", 0.7), ("c", 0.3))]
    rows += [{"doc_id": f"p{s}", "is_positive": True, "dense_score": s / 10} for s in (4, 8)]
    rule = AbsoluteMargin(margin=0.0, positive="own", on_null="keep")
    decisions, _ = select(table(rows), Recipe(rules=(rule,), limits=Limits(per_duplicate_cluster=1)), SOURCES, 0, "s")
    assert {(row["positive_id"], row["doc_id"]) for row in decisions.to_pylist() if row["decision"] == "negative"} == {
        ("p4", "c"),
        ("p8", "b"),
    }


def test_tokens_and_languages():
    rows = ranked(
        [0.9, 0.8, 0.7, 0.6, 0.5],
        doc_tokens=[2, 5, 9, 5, 5],
        doc_language=["en", "en", "en", "de", None],
        query_language=["en"] * 5,
    )
    found = decided(Recipe(limits=Limits(min_tokens=3, max_tokens=8, languages="same")), rows)
    assert {doc: reasons for doc, (_, reasons) in found.items()} == {
        "d1": ["min_tokens"],
        "d2": [],
        "d3": ["max_tokens"],
        "d4": ["language"],
        "d5": ["language_unknown"],
    }
    assert negatives(Recipe(limits=Limits(languages="cross")), rows) == ["d4"]
    assert negatives(Recipe(limits=Limits(languages=("de", "fr"))), rows) == ["d4"]


def test_limits_ask_for_the_features_they_compare():
    limits = Limits(min_tokens=1, languages="same", per_duplicate_cluster=1, per_group=1)
    assert set(Recipe(limits=limits).needs.features) == {"size", "duplicates", "context"}
    given_settings = Recipe.model_validate({"needs": {"features": {"clusters": {"queries": 7}}}, "row_order": {"kind": "clustered"}})
    assert given_settings.needs.features == {"clusters": {"queries": 7}}
    assert Recipe.model_validate(given_settings.model_dump(mode="json")) == given_settings


def test_equal_texts_are_not_two_negatives_of_a_query():
    found = decided(Recipe(), ranked([0.5, 0.9, 0.9], doc_hash=["x", "x", "y"]))
    assert found == {"d1": ("rejected", ["same_text"]), "d2": ("negative", []), "d3": ("negative", [])}


def test_copies_of_a_pseudo_positive_are_no_negatives():
    """d1 becomes a positive. d2 has its text, d3 is a near copy; d4 is neither."""
    rows = ranked(
        [0.9, 0.8, 0.7, 0.6], teacher_sigmoid=[0.99, 0.2, 0.2, 0.2], doc_hash=["x", "x", "y", "z"], duplicate_cluster=[1, 1, 1, 2]
    )
    rows.append({"doc_id": "p", "is_positive": True, "relevance": 1})
    recipe = Recipe(rules=(Duplicate(),), pseudo_positives=PseudoPositives(above=0.9))
    found = decided(recipe, rows)
    assert found["d1"] == ("pseudo_positive", [])
    assert found["d2"] == found["d3"] == ("rejected", ["copy_of_pseudo_positive"])
    assert found["d4"] == ("negative", [])


# diversity


def vectors_by_row(vectors):
    array = normalised(np.array(vectors, np.float32))
    return lambda partition, row: array[row]


def test_diversity_weighs_place_against_likeness():
    """d2 is d1's twin. place: 1, 3/4, 1/2, 1/4; then d2: .5·.75 − .5·1 = −.125, d3: .25 − 0, d4: .125 − .5·.6 = −.175: d3 is next."""
    vectors = vectors_by_row([[2, 0], [1, 0], [0, 1], [0.6, 0.8]])
    recipe = Recipe(num_negatives=2, limits=Limits(diversity=Diversity(trade_off=0.5, pool=4)))
    found = decided(recipe, ranked([0.9, 0.8, 0.7, 0.6]), vectors=vectors)
    assert found == {
        "d1": ("negative", []),
        "d2": ("not_drawn", ["diversity"]),
        "d3": ("negative", []),
        "d4": ("not_drawn", []),
    }
    decisions, layout = select(table(ranked([0.9, 0.8, 0.7, 0.6], ("d4",))), recipe, SOURCES, 0, "s", vectors=vectors)
    assert {row["doc_id"]: row["reason"] for row in decisions.to_pylist()} == {
        "d1": "drawn",
        "d2": "diversity",
        "d3": "drawn",
        "d4": "labelled_positive",
    }
    assert [row["doc_id"] for row in layout.to_pylist()] == ["d4", "d1", "d3"]


def test_negatives_of_earlier_draws_count_as_taken():
    """After d1, the places are d2: 1, d3: 3/4, d4: 1/2; d2: .5 − .5 = 0, d3: .375, d4: .25 − .3: d3."""
    draws = (Draw(name="first", take=1), Draw(name="second", take=1))
    recipe = Recipe(draws=draws, limits=Limits(diversity=Diversity(trade_off=0.5, pool=4)))
    found = decided(recipe, ranked([0.9, 0.8, 0.7, 0.6]), vectors=vectors_by_row([[1, 0], [1, 0], [0, 1], [0.6, 0.8]]))
    assert [doc for doc, (decision, _) in found.items() if decision == "negative"] == ["d1", "d3"]


def test_a_trade_off_of_one_is_the_draws_own_order():
    rows = ranked([0.9, 0.8, 0.7, 0.6])
    recipe = Recipe(num_negatives=3, limits=Limits(diversity=Diversity(trade_off=1, pool=2)))
    assert negatives(recipe, rows, vectors=vectors_by_row([[1, 0]] * 4)) == ["d1", "d2", "d3"]
    with pytest.raises(UsageError, match="needs the documents' vectors"):
        decided(recipe, rows)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_diversity_in_blocks_is_the_plain_greedy_choice(seed, take):
    random = np.random.default_rng(seed)
    group = np.sort(random.integers(0, 4, 30))
    vectors = normalised(random.normal(size=(30, 3)).astype(np.float32))
    wanted = Diversity(trade_off=0.4, pool=5)
    nothing = np.array([], np.int64)
    taken = diverse(group, np.arange(30), np.full(4, take), (nothing, nothing), lambda rows: vectors[rows], wanted)
    for number in range(4):
        mine = np.flatnonzero(group == number)[:5]
        chosen = []
        for _ in range(min(take, len(mine))):
            worth = [
                0.4 * (1 - place / 5) - 0.6 * max((float(vectors[row] @ vectors[other]) for other in chosen), default=0.0)
                if row not in chosen
                else -np.inf
                for place, row in enumerate(mine)
            ]
            chosen.append(mine[int(np.argmax(worth))])
        assert set(np.flatnonzero(taken & (group == number))) == set(chosen)


# over all queries


def in_parts(recipe, rows, parts=1, seed=0, vectors=None):
    """Global limits, then the selection of each part: (decisions, rows, refused)."""
    queries = sorted({row["query_id"] for row in rows})
    chosen = [[row for row in rows if queries.index(row["query_id"]) % parts == number] for number in range(parts)]
    split = [table(part) for part in chosen if part]
    capped, refused = limit(Candidates(recipe, SOURCES, seed, [prepare(part, recipe, seed) for part in split], vectors))
    found = [select(part, recipe, SOURCES, seed, "s", refused.banned, capped, vectors) for part in split]
    decisions = pa.concat_tables([part[0] for part in found]).sort_by([("query_id", "ascending"), ("doc_id", "ascending")])
    return decisions, pa.concat_tables([part[1] for part in found]), refused


HUBS = [
    # a keeps q2 (.95 > .9); q1 goes to b, which keeps q3 (.85 > .8); q1 goes to c
    ({"a": 0.5, "b": 0.85, "c": 0.3}, {"q1": "c", "q2": "a", "q3": "b"}, [("q1", "a"), ("q1", "b")], 2),
    # b keeps q1 (.8 > .75) and refuses q3, who held it; a refuses q3 too (.95 > .5); q3 goes to c
    ({"a": 0.5, "b": 0.75, "c": 0.3}, {"q1": "b", "q2": "a", "q3": "c"}, [("q1", "a"), ("q3", "a"), ("q3", "b")], 3),
]


@pytest.mark.parametrize(("third", "expected", "banned", "rounds"), HUBS)
@pytest.mark.parametrize("parts", [1, 3])
def test_three_queries_and_two_hubs(third, expected, banned, rounds, parts):
    rows = [*of_query("q1", {"a": 0.9, "b": 0.8, "c": 0.1}), *of_query("q2", {"a": 0.95, "b": 0.7, "c": 0.2}), *of_query("q3", third)]
    recipe = Recipe(num_negatives=1, limits=Limits(queries_per_document=1))
    decisions, _, refused = in_parts(recipe, rows, parts)
    assert {row["query_id"]: row["doc_id"] for row in decisions.to_pylist() if row["decision"] == "negative"} == expected
    assert pairs(refused.banned) == banned
    assert refused.rounds == rounds
    assert all(cap == 1 for _, _, cap in refused.most)
    assert {doc: wanted for doc, wanted, _ in refused.most} == {
        "a": 1 + sum(doc == "a" for _, doc in banned),
        "b": 1 + sum(doc == "b" for _, doc in banned),
        "c": 1,
    }
    marked = {(row["query_id"], row["doc_id"]): row["reasons"] for row in decisions.to_pylist() if row["reasons"]}
    assert marked == {pair: ["hub_limit"] for pair in banned}


def test_ties_go_by_hash_and_queries_without_a_row_use_nothing():
    rows = [
        *of_query("q1", {"a": 0.5, "b": 0.1}),
        *of_query("q2", {"a": 0.5, "b": 0.1}),
        {"query_id": "q3", "doc_id": "a", "dense_score": 0.9},
    ]
    recipe = Recipe(num_negatives=1, limits=Limits(queries_per_document=1))
    u = uniform(["hub_limit", 3], id_hashes(pa.array(["q1", "q2"])), id_hashes(pa.array(["a", "a"])))
    loser = "q1" if u[0] > u[1] else "q2"
    assert pairs(in_parts(recipe, rows, seed=3)[2].banned) == [(loser, "a")]


def test_a_hub_of_several_training_stages_counts_a_query_once():
    """Both stages draw a for q1; q2 wants it in the second only. With two queries a document, nobody is refused; with one, q2 is."""
    rows = [*of_query("q1", {"a": 0.9, "b": 0.1}), *of_query("q2", {"a": 0.4, "b": 0.8})]
    draws = (Draw(stage="first", pool="dense_score > 0.5"), Draw(stage="second", pool="doc_id = 'a'"))
    recipe = Recipe(draws=draws, num_negatives=1, limits=Limits(queries_per_document=2))
    assert in_parts(recipe, rows)[2].banned.num_rows == 0
    one = recipe.model_copy(update={"limits": Limits(queries_per_document=1)})
    assert pairs(in_parts(one, rows)[2].banned) == [("q2", "a")]


def test_refusals_end_and_are_sorted():
    wanted = pa.Table.from_pylist([{"query_id": f"q{n}", "doc_id": "a", "score": n / 10, "u": 0.5} for n in range(4)], schema=WANTED)
    asked = []

    def again(queries, banned):
        asked.append(queries["query_id"].to_pylist())
        return WANTED.empty_table()

    refused = refuse(wanted, 2, again)
    assert pairs(refused.banned) == [("q0", "a"), ("q1", "a")]
    assert asked == [["q0", "q1"]]
    assert (refused.most, refused.rounds) == ([("a", 4, 2)], 1)


def test_rows_of_a_positive_are_capped_by_hash():
    rows = [row for query in ("q1", "q2", "q3") for row in of_query(query, {"a": 0.5})]
    u = uniform(["rows_per_positive", 0], id_hashes(pa.array(["q1", "q2", "q3"])), id_hashes(pa.array(["p"] * 3)))
    kept = ["q1", "q2", "q3"][int(np.argmin(u))]
    recipe = Recipe(limits=Limits(rows_per_positive=1))
    for parts in (1, 3):
        decisions, layout, _ = in_parts(recipe, rows, parts)
        assert {(row["query_id"], row["positive_id"]) for row in layout.to_pylist()} == {(kept, "p")}
        assert {row["query_id"]: (row["decision"], row["reason"]) for row in decisions.to_pylist() if row["doc_id"] == "p"} == {
            query: ("positive", "labelled_positive" if query == kept else "positive_cap") for query in ("q1", "q2", "q3")
        }


def test_surplus_keeps_the_smallest_hashes_of_each_positive():
    rows = [("q1", "p", 0.9), ("q2", "p", 0.1), ("q3", "p", 0.5), ("q1", "r", 0.7)]
    anchors = pa.table({"query_id": [r[0] for r in rows], "doc_id": [r[1] for r in rows], "u": [r[2] for r in rows]})
    assert pairs(surplus(anchors, 2)) == [("q1", "p")]
    assert surplus(anchors, 3).num_rows == 0


def test_the_gate_passes_capped_positives_and_rows_without_negatives():
    rows = [row for query in ("q1", "q2") for row in of_query(query, {"a": 0.5, "b": 0.4})]
    for number, row in enumerate(rows):
        row |= {"query_row": int(row["query_id"][1]) - 1, "doc_row": number, "query_hash": row["query_id"], "planted": False}
    for recipe in (Recipe(limits=Limits(rows_per_positive=1, queries_per_document=1)), Recipe(num_negatives=0, draws=())):
        scored = table(rows)
        capped, refused = limit(Candidates(recipe, SOURCES, 0, [prepare(scored, recipe, 0)]))
        decisions, layout = select(scored, recipe, SOURCES, 0, "s", refused.banned, capped)
        hashes = {name: [f"{name}{row}" for row in range(len(rows))] for name in ("input_hash", "norm_hash")}
        address = scored.select(["doc_partition", "doc_row", "doc_id"]).sort_by("doc_row")
        queries = pa.table({"query_id": ["q1", "q2"], "input_hash": ["1", "2"], "norm_hash": ["1", "2"], "row": [0, 1]})
        documents = address.append_column("input_hash", pa.array(hashes["input_hash"])).append_column(
            "norm_hash", pa.array(hashes["norm_hash"])
        )
        tables = {"training": layout, "decisions": decisions, "scored": scored, "queries": queries, "documents": documents}
        report = inspect(tables, GateSettings(num_negatives=1))
        assert set(report["violations"].values()) == {0}, report
        assert report["anchor_rows"] == (1 if recipe.draws else 2)


@st.composite
def candidates(draw):
    """Queries with documents of a small corpus, in random order."""
    rows = []
    for query in range(draw(st.integers(1, 5))):
        found = draw(st.dictionaries(st.integers(0, 7), st.integers(0, 5), min_size=1))
        rows += [
            {
                "query_id": f"q{query}",
                "doc_id": f"d{doc}",
                "dense_score": score / 8,
                "is_positive": place == 0,
                "relevance": 1 if place == 0 else None,
                "doc_hash": f"h{doc // 2 if doc > 4 else -doc}",  # 6 and 7 have equal texts
                "duplicate_cluster": doc // 3,
                "group_id": f"g{doc % 2}",
            }
            for place, (doc, score) in enumerate(found.items())
        ]
    return draw(st.permutations(rows))


ORDERS = st.sampled_from([Top(), Random(), Weighted(log_weight="-dense_score")])


@settings(max_examples=15, deadline=None)
@given(candidates(), st.integers(1, 3), st.integers(1, 3), ORDERS, st.integers(2, 3))
def test_caps_hold_and_do_not_depend_on_partitions_or_order(rows, hub, most, order, parts):
    limits = Limits(queries_per_document=hub, per_duplicate_cluster=2, per_group=3, rows_per_positive=2)
    recipe = Recipe(num_negatives=most, draws=(Draw(order=order),), limits=limits)
    decisions, layout, refused = in_parts(recipe, sorted(rows, key=lambda row: (row["query_id"], row["doc_id"])))
    others = in_parts(recipe, rows, parts)
    assert others[0].equals(decisions)
    assert others[2].banned.equals(refused.banned)
    used = [(row["query_id"], row["doc_id"]) for row in layout.to_pylist() if row["slot"] > 0]
    assert all(entry["queries"] <= hub for entry in usage(layout).to_pylist())
    by_pair = {(row["query_id"], row["doc_id"]): row for row in rows}
    for query in {query for query, _ in used}:
        mine = [by_pair[pair] for pair in used if pair[0] == query]
        for column, limit_of in (("doc_hash", 1), ("duplicate_cluster", 2), ("group_id", 3)):
            values = [row[column] for row in mine]
            assert all(values.count(value) <= limit_of for value in values)
    positives = [row["positive_id"] for row in layout.to_pylist() if row["slot"] == 0]
    assert all(positives.count(positive) <= 2 for positive in positives)


# the stages


def committed(storage, name, number, file, content):
    out = Output(storage, f"data/{name}/{number}")
    out.array(file, content) if isinstance(content, np.ndarray) else out.table(file, content)
    return Part(stage=name, key=f"{name}{number}", index=f"q{number:04}", files=tuple(out.files))


def feature(storage, name, number, values):
    content = pa.table({column: pa.array(values[column], kind) for column, kind in OPTIONAL_FEATURES[name]})
    return committed(storage, name, number, "features.parquet", content)


def test_the_stages_join_features_and_pass_on_what_is_refused(tmp_path):
    storage = open_storage(str(tmp_path))
    rows = {"q1": of_query("q1", {"a": 0.9, "b": 0.8}), "q2": of_query("q2", {"a": 0.95, "b": 0.7})}
    scored = [committed(storage, "scored", n, "scored.parquet", table(rows[query])) for n, query in enumerate(rows)]
    duplicates = [feature(storage, "duplicates", n, {"duplicate_cluster": [1, 2, 3]}) for n in range(2)]
    vectors = [committed(storage, "embed-documents", 0, "vectors.npy", np.eye(3, dtype=np.float32))]
    recipe = Recipe(limits=Limits(queries_per_document=1, per_duplicate_cluster=1, diversity=Diversity()), num_negatives=1)
    features = {"duplicates": duplicates, "unused": duplicates}
    (job,) = hubs.jobs(scored, recipe, SOURCES, 0, features, vectors)
    banned = run_job(str(tmp_path), hubs.STAGE, job, lambda _: None)
    assert pairs(read_table(storage, banned.file("banned.parquet"))) == [("q1", "a")]
    assert read_table(storage, banned.file("anchors.parquet")).schema == PAIRS
    assert banned.meta == {"hubs": [["a", 2, 1], ["b", 1, 1]], "rounds": 1}
    jobs = stage.jobs(scored, recipe, SOURCES, "c", 0, features, [banned], vectors)
    assert set(jobs[0].inputs) == {"scored", "feature.duplicates", "banned", "vectors"}
    done = [run_job(str(tmp_path), stage.STAGE, job, lambda _: None) for job in jobs]
    found = [read_table(storage, part.file("usage.parquet")).to_pylist() for part in done]
    assert found == [[{"doc_id": "b", "queries": 1}], [{"doc_id": "a", "queries": 1}]]
    assert done[0].meta["decisions"] == {"negative": 1, "positive": 1, "rejected": 1}
    assert done[0].meta["reasons"] == {"hub_limit": 1}
    assert done[0].meta["negatives_per_row"] == {"1": 1}
    assert list(tmp_path.rglob("*.arrow")) == []


@pytest.mark.parametrize(
    ("splits", "banned", "rows"),
    [
        ({"q1": "train", "q2": "test"}, [], 1),  # q2 wants a more than q1 does, but it gets no training row
        ({"q1": None, "q2": "dev"}, [], 1),
        ({"q1": "train", "q2": None}, [("q1", "a")], 1),
        ({"q1": "test", "q2": "test"}, [("q1", "a")], 1),  # none trains: a file of test alone is mined as a whole
    ],
)
def test_held_out_queries_do_not_count(tmp_path, splits, banned, rows):
    """One query a document; the second limit, one row a positive, keeps one of the two rows with p where both count."""
    storage = open_storage(str(tmp_path))
    given_rows = {"q1": of_query("q1", {"a": 0.9, "b": 0.8}), "q2": of_query("q2", {"a": 0.95, "b": 0.7})}
    scored = [committed(storage, "scored", n, "scored.parquet", table(given_rows[query])) for n, query in enumerate(splits)]
    held = [pa.table({"query_id": [query], "split": pa.array([split], pa.string())}) for query, split in splits.items()]
    queries = [committed(storage, "queries", n, "queries.parquet", content) for n, content in enumerate(held)]
    recipe = Recipe(limits=Limits(queries_per_document=1), num_negatives=1)

    def limited(recipe):
        (job,) = hubs.jobs(scored, recipe, SOURCES, 0, queries=queries)
        return run_job(str(tmp_path), hubs.STAGE, job, lambda _: None)

    found = limited(recipe)
    assert pairs(read_table(storage, found.file("banned.parquet"))) == banned
    capped = limited(Recipe(limits=Limits(rows_per_positive=1)))
    assert read_table(storage, capped.file("anchors.parquet")).num_rows == (rows if banned else 0)
    assert stage.selection_id("c", recipe, 0, banned=[found]) != stage.selection_id("c", recipe, 0)


def test_identity_holds_the_features_that_are_needed(tmp_path):
    storage = open_storage(str(tmp_path))
    recipe = Recipe(limits=Limits(per_duplicate_cluster=1))
    one = [feature(storage, "duplicates", 0, {"duplicate_cluster": [1]})]
    other = [feature(storage, "duplicates", 1, {"duplicate_cluster": [2]})]
    assert stage.selection_id("c", recipe, 0, {"duplicates": one}) != stage.selection_id("c", recipe, 0, {"duplicates": other})
    assert stage.selection_id("c", Recipe(), 0, {"duplicates": one}) == stage.selection_id("c", Recipe(), 0)
    scored = [committed(storage, "scored", 0, "scored.parquet", table(ranked([0.5])))]
    with pytest.raises(UsageError, match="needs the feature 'duplicates', which was not computed"):
        stage.jobs(scored, recipe, SOURCES, "c", 0)
    with pytest.raises(UsageError, match="needs the documents' vectors"):
        stage.jobs(scored, Recipe(limits=Limits(diversity=Diversity())), SOURCES, "c", 0)


# what is told when SQL is wrong

MISTAKES = [
    (
        {"rules": [{"kind": "where", "predicate": "dens_score < 1", "on_null": "keep"}]},
        "rule 'where', predicate: .*dens_score",
        "dense_score",
    ),
    ({"draws": [{"name": "walk", "pool": "dense_rank >"}]}, "draw 'walk', pool: ", "the columns there are: bm25_rank"),
    (
        {"draws": [{"order": {"kind": "weighted", "log_weight": "pow(nothing, 2)"}}]},
        "draw 'draw', log_weight: .*nothing",
        "columns there are",
    ),
    ({"draws": [{"weight_by": "1 - teacher"}]}, "draw 'draw', weight_by: .*teacher", "did you mean 'teacher"),
    ({"draws": [{"stage": "easy", "order": {"kind": "top", "by": "dense"}}]}, "draw 'draw' of stage 'easy', order top: ", "dense_"),
    ({"rank_by": "bm25"}, "rank_by: ", "did you mean 'bm25_"),
    ({"rules": [{"kind": "where", "predicate": "doc_tokens < 9", "on_null": "keep"}]}, "rule 'where'", "feature 'size' gives it"),
    ({"limits": {"per_group": 1}}, "limits, group_id: ", "feature 'context' gives it"),
    ({"draws": [{"weight_by": "ln(dense_score - dense_score)"}]}, "draw 'draw', weight_by: ", "columns"),  # fails on values only
    ({"draws": [{"weight_by": "-1"}]}, "draw 'draw', weight_by: gives weights that are negative", "0 or more"),
]


@pytest.mark.parametrize(("given_settings", "message", "mend"), MISTAKES)
def test_wrong_sql_is_told_with_rule_or_draw_and_field(given_settings, message, mend):
    recipe = Recipe.model_validate({"name": "mine", **given_settings})
    with pytest.raises(UsageError, match="recipe 'mine'") as error:
        select(table(ranked([0.5, 0.4])), recipe, SOURCES, 0, "s")
    assert re.search(message, error.value.message), error.value.message
    assert mend in error.value.mend, error.value.mend
