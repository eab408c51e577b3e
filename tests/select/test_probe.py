"""Planted positives through real stages: what a recipe would have done with them."""

import pytest

from tasks.schema import PROBES
from tasks.select.draws import Draw
from tasks.select.limits import Limits
from tasks.select.recipe import Facts, Recipe
from tasks.select.registry import compose_recipe
from tasks.select.task import probe, select
from tasks.store.tables import read_parts
from tests.retrieve.build import commit, context
from tests.select.tables import positive, ranked, table

SOURCES = ["dense"]


def planted(row):
    return {**row, "relevance": 1, "planted": True}


def rows(query="q1"):
    """p: the positive; d1 … d4 by score, d2 and d4 planted; x: planted, not retrieved."""
    found = [row | {"planted": False} for row in ranked([0.9, 0.8, 0.7, 0.6], query=query)]
    found[1], found[3] = planted(found[1]), planted(found[3])
    return [
        *found,
        positive(0.95, query=query) | {"planted": False},
        planted(positive(0.85, query=query, doc="x") | {"is_positive": False}),
    ]


def probed(tmp_path, recipe, *partitions):
    setting = context(tmp_path)
    parts = [
        commit(setting.storage, "scored", f"q{number:04d}", {"scored.parquet": table(given, SOURCES)})
        for number, given in enumerate(partitions)
    ]
    manifest = probe(setting, parts, recipe, SOURCES, "c", 0)
    return setting, parts, manifest


def outcome(setting, manifest):
    found = read_parts(setting.storage, manifest.parts, "probes.parquet")
    assert found.schema == PROBES
    return {(row["query_id"], row["doc_id"]): (row["emitted"], row["reason"]) for row in found.to_pylist()}


def test_emitted_is_what_would_be_a_negative(tmp_path):
    """The best two of d1, d2, d3, d4 are d1 and d2: of the planted d2 and d4 the first is emitted. x was not retrieved."""
    setting, parts, manifest = probed(tmp_path, Recipe(num_negatives=2), rows("q1"), rows("q2")[:1])
    assert outcome(setting, manifest) == {("q1", "d2"): (True, "drawn"), ("q1", "d4"): (False, "quota_full")}
    assert [part.meta for part in manifest.parts] == [{"planted": 2, "emitted": 1}, {"planted": 0, "emitted": 0}]
    assert manifest.counters == {"model_calls": 0}
    # the selection itself rejects all planted ones
    decided, _ = select(setting, parts, Recipe(num_negatives=2), SOURCES, "c", 0)
    decisions = read_parts(setting.storage, decided.parts, "decisions.parquet").to_pylist()
    assert {row["doc_id"] for row in decisions if row["reason"] == "planted"} == {"d2", "d4", "x"}


def test_what_is_written_of_each(tmp_path):
    setting, _, manifest = probed(tmp_path, Recipe(num_negatives=1), [row | {"teacher_logit": 2.0} for row in rows()])
    first = read_parts(setting.storage, manifest.parts, "probes.parquet").to_pylist()[0]
    assert {name: first[name] for name in ("dense_rank", "teacher_logit", "emitted")} == {
        "dense_rank": 2,
        "teacher_logit": 2.0,
        "emitted": False,
    }
    assert first["dense_score"] == pytest.approx(0.8)


def test_rules_see_them_as_unlabelled(tmp_path):
    """PercPos at 0.8 of the positive's 0.95: from 0.76 on candidates are rejected, so d1 and d2; d3 and d4 are drawn."""
    wanted = {"name": "nv-retriever", "duplicates": False, "percentage": 0.8}
    recipe = compose_recipe(wanted, Facts(num_negatives=2, max_positives=1))
    setting, _, manifest = probed(tmp_path, recipe, rows())
    assert outcome(setting, manifest) == {("q1", "d2"): (False, "relative_margin"), ("q1", "d4"): (True, "drawn")}


def test_any_training_stage_counts_and_lists_to_imitate_do_not(tmp_path):
    """Stage one takes the last survivor (d4), stage two the first two with a label of 1: they are trained as relevant."""
    draws = (Draw(stage="one", survivor_min=3), Draw(stage="two", take=2, label=1.0))
    setting, _, manifest = probed(tmp_path, Recipe(num_negatives=1, draws=draws), rows())
    assert {doc: emitted for (_, doc), (emitted, _) in outcome(setting, manifest).items()} == {"d2": False, "d4": True}


def test_refusals_of_global_limits_hold(tmp_path):
    """d1 may serve one query only. The one that loses it draws d2 instead, as one negative is wanted."""
    recipe = Recipe(num_negatives=1, limits=Limits(queries_per_document=1))
    setting, _, manifest = probed(tmp_path, recipe, rows("q1"), rows("q2"))
    emitted = {pair for pair, (yes, _) in outcome(setting, manifest).items() if yes}
    assert len(emitted) == 1 and emitted <= {("q1", "d2"), ("q2", "d2")}


def test_nothing_planted_gives_empty_files(tmp_path):
    setting, _, manifest = probed(tmp_path, Recipe(), [row | {"planted": False} for row in ranked([0.9, 0.8])])
    assert outcome(setting, manifest) == {}
