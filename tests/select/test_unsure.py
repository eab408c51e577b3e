"""A teacher that stops early: what is drawn is the same as with all scores."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.groups import Groups, positive_columns
from tasks.schema import OPTIONAL_FEATURES, TEACHER
from tasks.select.base import prepare
from tasks.select.recipe import Facts, Recipe
from tasks.select.registry import compose_recipe, recipe_names
from tasks.select.stage import select
from tasks.select.unsure import PENDING, to_ask
from tests.select.tables import positive, ranked, table

FACTS = Facts(num_negatives=3, max_positives=2, documents=1000, queries=300)
SOURCES = ["dense", "bm25", "random"]
SCORES = [name for name, _ in TEACHER]

LAZY = {
    "hardmine": "hardmine",
    "hardmine, one a group": {"name": "hardmine", "ceiling": 0.3, "limits": {"per_group": 1, "per_duplicate_cluster": 2}},
    "rocketqa": {"name": "rocketqa", "depth": 12, "backfill_depth": 25},
    "rocketqa, rows a positive": {"name": "rocketqa", "ceiling": 0.4, "limits": {"rows_per_positive": 2, "max_tokens": 15}},
    "middle-band": {"name": "middle-band", "duplicates": False},
    "ambiguous-window": {"name": "ambiguous-window", "score": "teacher_logit", "margin": 2.0},
    "ambiguous-window, own": {"name": "ambiguous-window", "score": "teacher_sigmoid", "positive": "own"},
    "curriculum": {"name": "curriculum", "by": "teacher"},
    "a slice": {
        "rules": [{"kind": "teacher_ceiling", "ceiling": 0.6, "on_null": "keep"}],
        "draws": [{"survivor_min": 2, "survivor_max": 6}, {"name": "rest", "order": {"kind": "random"}, "survivor_min": 1}],
    },
    "weighted": {
        "rules": [{"kind": "where", "predicate": "teacher_logit < 1.5", "on_null": "reject"}],
        "draws": [{"order": {"kind": "weighted", "log_weight": "dense_score"}, "pool": "teacher_logit < 1.0 OR dense_rank < 5"}],
        "limits": {"per_group": 1},
    },
}


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"name": "pair"}, "pseudo-positives"),
        ({"name": "rocketqa", "pseudo_positives": True}, "pseudo-positives"),
        ({"name": "cl-drd"}, "'relevant-1' goes by the teacher's scores"),
        ({"name": "tas-balanced"}, "looks at all candidates that are left"),
        ({"name": "sentence-transformers", "cross_encoder": True, "relative_margin": 0.0}, "goes by the teacher's scores"),
        (
            {"name": "sentence-transformers", "cross_encoder": True, "relative_margin": 0.0, "sampling_strategy": "random"},
            "slice of the ranking by teacher_sigmoid",
        ),
        ({"name": "ambiguous-window", "score": "teacher_logit", "order": "top"}, "goes by the teacher's scores"),
        ({"name": "query-quantiles", "score": "teacher_logit"}, "the query's other candidates"),
        ({"name": "ccr-sieve", "score": "teacher_logit"}, "the query's other candidates"),
        ({"name": "rocketqa", "limits": {"diversity": {}}}, "limits.diversity"),
        ({"name": "rocketqa", "limits": {"queries_per_document": 3}}, "limits.queries_per_document"),
        ({"name": "middle-band", "score": "teacher_calibrated"}, "fitted on the scores of all candidates"),
        ({"name": "nv-retriever"}, "needs no teacher at all"),
        (
            {
                "rules": [{"kind": "where", "predicate": "COLUMNS('teacher.*') > 0", "on_null": "keep"}],
                "draws": [{"weight_by": "count(*) OVER ()"}],
            },
            "looks at all",
        ),
        ({"rules": [{"kind": "where", "predicate": "teacher_logit < avg(teacher_logit) OVER ()", "on_null": "keep"}]}, "other candidates"),
    ],
)
def test_recipes_that_must_know_all_scores_say_why(wanted, reason):
    assert reason in compose_recipe(wanted, FACTS).needs_all_scores


def test_every_published_recipe_says_whether_it_may_stop_early():
    """By default settings; those over the retriever's scores alone need no teacher."""
    may = {name for name in recipe_names() if not compose_recipe(name, FACTS).needs_all_scores}
    assert may == {"hardmine", "middle-band", "rocketqa"}


@pytest.mark.parametrize("wanted", LAZY.values(), ids=LAZY)
def test_lazy_recipes_are_permitted(wanted):
    assert not compose_recipe(wanted, FACTS).needs_all_scores


def answered(scored, known):
    """The table with the teacher's columns where they are known; all that is computed from them follows."""
    groups = Groups(scored["query_row"].to_numpy(), scored["is_positive"].to_numpy(zero_copy_only=False))
    for name in SCORES:
        own = pa.array(np.where(known, scored[name].to_numpy(zero_copy_only=False), np.nan).astype(np.float32), from_pandas=True)
        columns = {name: own, **positive_columns(groups, name, own)}
        for column, values in columns.items():
            scored = scored.set_column(scored.column_names.index(column), column, values)
    return scored


def lazily(scored, due, recipe, seed=3):
    """What a lazy teacher leaves scored, and in how many waves; ``due``: whom it would score at all."""
    known = np.zeros(scored.num_rows, bool)
    for wave in range(1, 60):
        now = answered(scored, known).append_column(PENDING, pa.array(due & ~known))
        now = now.append_column("at", pa.array(np.arange(now.num_rows)))
        ready = prepare(now, recipe, seed)
        asked = ready["at"].to_numpy()[to_ask(ready, recipe, SOURCES, wave)]
        assert not known[asked].any() and due[asked].all()
        if not len(asked):
            return known, wave - 1
        known[asked] = True
    raise AssertionError("it never stops")


score = st.floats(-1, 1, width=32)
rank = st.none() | st.integers(1, 40)
candidate = st.fixed_dictionaries(
    {
        "relevance": st.sampled_from([None, None, None, None, None, 0, 1]),
        "dense_rank": rank,
        "dense_score": score,
        "bm25_rank": rank,
        "random_rank": rank,
        "teacher_logit": st.none() | st.sampled_from([-6.0, -2.0, -1.0, 0.0, 0.5, 3.0]),
        "copy_of": st.sampled_from([None, None, None, "query"]),
        "positive_containment": st.none() | st.floats(0, 1, width=32),
        "label_evidence": st.none() | st.floats(0, 1, width=32),
        "group_id": st.sampled_from([None, "g", "h", "i"]),
        "duplicate_cluster": st.integers(0, 4),
        "doc_tokens": st.integers(1, 20),
        "doc_hash": st.sampled_from("abcdefgh"),
    }
)
queries = st.lists(st.lists(candidate, min_size=1, max_size=25), min_size=1, max_size=3)


def made(drawn):
    rows = []
    for query, candidates in enumerate(drawn):
        by_text = {}
        for number, row in enumerate(candidates):
            logit = by_text.setdefault(row["doc_hash"], row["teacher_logit"])  # one text has one score
            sigmoid = None if logit is None else 1 / (1 + math.exp(-logit))
            same = {"is_positive": row["relevance"] == 1, "query_row": query, "teacher_logit": logit, "teacher_sigmoid": sigmoid}
            rows.append(row | same | {"query_id": f"q{query}", "doc_id": f"d{number:02}"})
    return table(rows, SOURCES, OPTIONAL_FEATURES)


@pytest.mark.parametrize("wanted", LAZY.values(), ids=LAZY)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(drawn=queries)
def test_lazy_and_full_draw_the_same(wanted, drawn):
    recipe, scored = compose_recipe(wanted, FACTS), made(drawn)
    due = scored["teacher_logit"].is_valid().to_numpy(zero_copy_only=False)
    known, _ = lazily(scored, due, recipe)
    full, lazy = answered(scored, due), answered(scored, known)
    drawn_full, rows_full = select(full, recipe, SOURCES, 3, "s")
    drawn_lazy, rows_lazy = select(lazy, recipe, SOURCES, 3, "s")
    assert rows_lazy.equals(rows_full)
    columns = ["stage", "query_id", "doc_id", "positive_id", "draw", "slot", "label", "weight"]
    taken = [
        [row for row in one.select([*columns, "decision"]).to_pylist() if row["decision"] == "negative"] for one in (drawn_full, drawn_lazy)
    ]
    assert taken[0] == taken[1]
    assert known[due & scored["is_positive"].to_numpy(zero_copy_only=False)].all(), "positives are scored, whatever happens"


def walk(logits, **settings):
    """One positive of logit 4, candidates by dense rank with these logits; two negatives, from a teacher's ceiling of 0.5 (logit 0)."""
    recipe = Recipe.model_validate(
        {"num_negatives": 2, "rules": [{"kind": "teacher_ceiling", "ceiling": 0.5, "on_null": "reject"}], **settings}
    )
    size = len(logits)
    rows = [
        *ranked([0.9 - 0.01 * at for at in range(size)], teacher_logit=logits, teacher_sigmoid=[1 / (1 + math.exp(-x)) for x in logits]),
        positive(0.95, teacher_logit=4.0, teacher_sigmoid=0.98),
    ]
    for row in rows:
        row["doc_id"] = row["doc_id"].replace("d", "d0") if len(row["doc_id"]) == 2 else row["doc_id"]
    scored = table(rows, ["dense"])
    known, waves = lazily(scored, np.ones(scored.num_rows, bool), recipe)
    return [doc for doc, yes in zip(scored["doc_id"].to_pylist(), known.tolist(), strict=True) if yes], waves


def test_it_stops_at_the_quota():
    """Wave 1: d01, d02 and the positive; both are under the ceiling."""
    assert walk([-1.0] * 9) == (["d01", "d02", "p"], 1)


def test_it_walks_on_past_what_the_teacher_refuses():
    """Wave 1: d01, d02: d01 is refused. Wave 2 needs d03, and asks for one more. d03 passes."""
    assert walk([1.0, -1.0, -1.0, -1.0, -1.0]) == (["d01", "d02", "d03", "d04", "p"], 2)


def test_it_scores_all_where_all_are_refused():
    """Two; then 2 + 1, 2 + 2, 2 + 4: 2, 5, 9, 15 candidates in 4 waves."""
    assert walk([1.0] * 15) == ([*(f"d{number:02}" for number in range(1, 16)), "p"], 4)
    assert len(walk([1.0] * 12)[0]) == 13


def test_a_slice_of_survivors_is_scored_as_far_as_it_matters():
    """Random from the third and fourth survivors: d01 is refused, so d02 … d05 are the four; wave 2 asks for one more."""
    draw = {"order": {"kind": "random"}, "survivor_min": 2, "survivor_max": 4}
    assert walk([1.0] + [-1.0] * 8, draws=[draw]) == ([*(f"d{number:02}" for number in range(1, 7)), "p"], 2)
    # in the ranking's own order the slice's end does not matter: survivors 2 and 3
    assert walk([-1.0] * 9, draws=[{"survivor_min": 1, "survivor_max": 8}])[0] == ["d01", "d02", "d03", "p"]
