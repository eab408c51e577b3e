"""What holds for every published recipe."""

import math
from collections import Counter
from functools import cache

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.errors import UsageError
from tasks.schema import OPTIONAL_FEATURES
from tasks.select.limited import limited
from tasks.select.limits import Limits
from tasks.select.recipe import Facts, Recipe
from tasks.select.registry import RECIPES, compose_recipe, recipe_class, recipe_names
from tasks.select.rules.copies import NearDuplicate
from tasks.select.stage import _counts, select
from tests.select.tables import table

FACTS = Facts(num_negatives=3, max_positives=2, documents=1000, queries=300)
SOURCES = ["dense", "bm25", "random"]

scores = st.floats(-1, 1, width=32)
rank = st.none() | st.integers(1, 210)
flag = st.none() | st.booleans()
candidate = st.fixed_dictionaries(
    {
        "relevance": st.sampled_from([None, None, None, None, 0, 1, 2]),
        "dense_rank": rank,
        "dense_score": scores,
        "bm25_rank": rank,
        "bm25_score": st.none() | st.floats(0, 20, width=32),
        "random_rank": rank,
        "fixed_score": scores,
        "teacher_logit": st.none() | st.floats(-8, 8, width=32),
        "copy_of": st.sampled_from([None, None, None, "query", "positive"]),
        "positive_containment": st.none() | st.floats(0, 1, width=32),
        "positive_document_score": st.none() | scores,
        "document_cluster": st.integers(0, 3),
        "in_positive_cluster": flag,
        "answer_match": flag,
        "group_id": st.sampled_from([None, "g", "h"]),
        "group_position": st.integers(0, 9),
        "in_positive_group": flag,
        "duplicate_cluster": st.integers(0, 5),
        "doc_tokens": st.integers(1, 20),
        "doc_language": st.sampled_from([None, "de", "en"]),
        "rance_weight": st.none() | st.floats(0, 1, width=32),
        "label_evidence": scores,
    }
)
queries = st.lists(st.lists(candidate, min_size=1, max_size=12), min_size=1, max_size=3)


def scored(drawn):
    """Rows of a scored table, all optional columns filled; grades 2 and more are positives."""
    rows = []
    for number, candidates in enumerate(drawn):
        for place, values in enumerate(candidates):
            logit = values["teacher_logit"]
            row = {"query_id": f"q{number}", "doc_id": f"d{place}", "query_cluster": number % 2, "query_language": "de", **values}
            row["is_positive"] = values["relevance"] == 2
            row["teacher_sigmoid"] = row["teacher_calibrated"] = None if logit is None else 1 / (1 + math.exp(-logit))
            rows.append({**row, "query_row": number, "doc_row": len(rows), "doc_hash": f"{number}-{place}"})
    return rows


@cache
def recipe_of(name):
    return compose_recipe(name, FACTS)


def decide(recipe, rows):
    return select(table(rows, SOURCES, OPTIONAL_FEATURES), recipe, SOURCES, 3, "s")


@pytest.mark.parametrize("name", recipe_names())
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(drawn=queries, seed=st.randoms(use_true_random=False))
def test_rows_are_sound_whatever_the_candidates(name, drawn, seed):
    recipe, rows = recipe_of(name), scored(drawn)
    decisions, layout = decide(recipe, rows)
    labelled = {(row["query_id"], row["doc_id"]) for row in rows if row["relevance"] is not None}
    members = {}
    for row in layout.to_pylist():
        members.setdefault((row["stage"], row["row_no"]), []).append(row)
    negatives = [row for row in decisions.to_pylist() if row["decision"] == "negative"]
    # never a labelled document as a negative, and never twice the same in a row
    assert not labelled & {(row["query_id"], row["doc_id"]) for row in negatives}
    for row in members.values():
        documents = [member["doc_id"] for member in row]
        assert len(set(documents)) == len(documents)
        assert [member["slot"] for member in row] == list(range(len(row)))
        assert not labelled & {(member["query_id"], member["doc_id"]) for member in row[1:]}
    # the quota is kept, every drawn negative is in its query's rows, and short rows are counted
    drawn_by = Counter((row["stage"], row["query_id"]) for row in negatives)
    assert max(drawn_by.values(), default=0) <= recipe.num_negatives
    for (stage, _), row in members.items():
        assert len(row) - 1 == drawn_by[stage, row[0]["query_id"]]
    assert _counts(decisions, layout)["negatives_per_row"] == Counter(str(len(row) - 1) for row in members.values())
    # every candidate is decided once a stage
    assert decisions.num_rows == len(rows) * len(recipe.stages)
    # order and partition do not matter
    shuffled = list(rows)
    seed.shuffle(shuffled)
    unordered = table(shuffled, SOURCES, OPTIONAL_FEATURES)
    mixed = unordered.take(pa.array(seed.sample(range(len(rows)), len(rows))))
    assert select(mixed, recipe, SOURCES, 3, "s")[0].equals(decisions)
    apart = [decide(recipe, [row for row in rows if row["query_id"] == query])[0] for query in sorted({row["query_id"] for row in rows})]
    assert (
        pa.concat_tables(apart)
        .sort_by([("stage", "ascending"), ("query_id", "ascending"), ("doc_id", "ascending")])
        .equals(decisions.sort_by([("stage", "ascending"), ("query_id", "ascending"), ("doc_id", "ascending")]))
    )


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.model_fields["name"].default)
def test_each_recipe_says_what_it_is_and_composes(recipe):
    name = recipe.model_fields["name"].default
    facts = Facts(num_negatives=5, max_positives=3, documents=1000, queries=300)
    assert (recipe.__doc__ or "").splitlines()[0].endswith(".")
    assert recipe.paper
    assert recipe.certainty
    assert compose_recipe(name, facts).name == name
    assert compose_recipe({"name": name}, Facts(num_negatives=1, max_positives=1)).name == name
    composed = compose_recipe(name, facts)
    assert compose_recipe(composed.model_dump(mode="json"), facts) == composed  # as a round's record holds it
    if recipe.sweep is not None:
        parameter, values = recipe.sweep
        distinct = {str(compose_recipe({"name": name, parameter: value}, facts)) for value in values}
        assert len(distinct) == len(values)
        assert 6 <= len(values) <= 8


def test_no_two_recipes_have_the_same_name():
    assert len(recipe_names()) == len(RECIPES)


@pytest.mark.parametrize("name", [name for name in recipe_names() if name != "in-batch"])
def test_every_recipe_takes_constraints(name):
    """Even documents are longer than allowed; of those that are left, one a parent document."""
    rows = [
        {
            **{
                "query_id": "q",
                "doc_id": f"d{number:02}",
                "doc_tokens": 10 + number % 2,
                "group_id": f"g{number % 4}",
                "in_positive_group": True,
            },
            **{"dense_rank": number, "dense_score": 0.7 - number / 1000, "bm25_rank": number, "bm25_score": 9.0, "random_rank": number},
            **{"teacher_logit": -4.0 - number / 100, "teacher_sigmoid": 0.3, "in_positive_cluster": name == "topic", "query_cluster": 0},
            **{"rance_weight": 0.5, "positive_document_score": 0.9},
        }
        for number in range(1, 61)
    ]
    rows.append({"query_id": "q", "doc_id": "p", "is_positive": True, "relevance": 1, "dense_score": 0.75, "query_cluster": 0})
    rows[-1] |= {"teacher_logit": 4.0, "teacher_sigmoid": 0.98}
    limits = {"min_tokens": 11, "per_group": 1}
    recipe = compose_recipe({"name": name, "limits": limits}, FACTS)
    assert {"size", "context"} <= set(recipe.needs.features)
    decisions, _ = decide(recipe, rows)
    for stage in recipe.stages:
        taken = [row["doc_id"] for row in decisions.to_pylist() if row["decision"] == "negative" and row["stage"] == stage]
        assert all(int(doc[1:]) % 2 == 1 for doc in taken)
        assert len({int(doc[1:]) % 4 for doc in taken}) == len(taken)


def test_limits_join_the_recipes_own():
    """A free recipe's limits stay where the run gives none; what the run gives stands before them."""
    own = Recipe(limits=Limits(max_tokens=9, per_group=2), rules=(NearDuplicate(),))
    both = limited(own, Limits(per_group=1))
    assert (both.limits.max_tokens, both.limits.per_group) == (9, 1)
    assert set(both.needs.features) == {"containment", "context", "size"}
    assert limited(own, Limits()) is own
    kept = compose_recipe({"name": "other-clusters", "clusters": 5, "limits": {"max_tokens": 9}}, FACTS)
    assert kept.needs.features == {"clusters": {"documents": 5}, "containment": {}, "size": {}}
    assert compose_recipe({"draws": [{}], "limits": {"max_tokens": 9}}, FACTS).limits.max_tokens == 9


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UsageError, match="rocketqua") as recipe:
        compose_recipe("rocketqua", FACTS)
    assert "did you mean 'rocketqa'?" in recipe.value.mend
    with pytest.raises(UsageError, match="did you mean 'margin'"):
        compose_recipe({"name": "ambiguous-window", "margn": 0.1}, FACTS)
    with pytest.raises(UsageError, match="did you mean 'per_group'"):
        compose_recipe({"name": "top", "limits": {"per_groop": 1}}, FACTS)


def test_settings_that_do_not_fit_together_are_refused():
    wrong = [
        {"name": "ance", "chunk": 1},
        {"name": "middle-band", "low": 0.6},
        {"name": "curriculum", "hard_depth": 100},
        {"name": "curriculum", "by": "teacher", "ceiling": 0.05},
        {"name": "cl-drd", "relevant": [0, 0, 0], "hard": [0, 1, 1], "semi_hard": [0, 0, 0]},
    ]
    for each in wrong:
        with pytest.raises(UsageError, match=each["name"]):
            compose_recipe(each, FACTS)
    with pytest.raises(UsageError, match="must be under"):
        compose_recipe({"name": "query-quantiles", "low": 0.95}, FACTS)


def test_a_recipes_own_number_of_negatives_stands_before_the_runs():
    assert compose_recipe({"name": "dpr", "num_negatives": 1}, FACTS).num_negatives == 1
    assert compose_recipe("dpr", FACTS).num_negatives == 3
    assert recipe_class("in-batch").model_fields["num_negatives"].default is None
