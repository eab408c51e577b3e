"""A lazy teacher in whole rounds: fewer pairs, the same training rows; and what a partial candidate set refuses."""

import pyarrow.compute as pc
import pytest

from flows.advising import AdviceRequest, find_threshold
from flows.again import select_again
from flows.compare import CompareRequest, compare
from flows.mine import mine_round
from flows.promotion import promote_round
from flows.report import report
from flows.settings import MineSettings
from flows.stored import find_round, stored_stage, stored_table
from tasks.errors import UsageError
from tasks.review.settings import PromotionSettings
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts
from tests.e2e.conftest import cross_encoder, write_collection
from tests.runner.test_runner import Recorder

assert cross_encoder  # a fixture that is used below
MODEL = {"path": "packaged", "max_length": 32, "dtype": "float32", "device": "cpu"}
ROCKETQA = {"name": "rocketqa", "depth": 8, "ceiling": 0.5, "backfill_depth": 12}
HARDMINE = {"name": "hardmine", "depth": 12, "bm25_depth": 6, "teacher_weight": 0.5, "ceiling": 0.7}


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("collection") / "beir")


@pytest.fixture(scope="module")
def mined(tmp_path_factory, collection, cross_encoder):
    """Rounds in one root: each with all scores in a root of its own first, so that no pair is known when the lazy one starts."""

    def mine(root, lazy, recipe=ROCKETQA, **changes):
        made = {
            "root": str(root),
            "dataset": {"name": "small", "format": "beir", "path": str(collection), "document_partitions": 3, "query_partitions": 2},
            "model": MODEL,
            "teacher": {
                "path": str(cross_encoder),
                "depth": 10,
                "lazy": lazy,
                "pairs_per_partition": 60,
                **MODEL | {"path": str(cross_encoder)},
            },
            "retrieve": {"dense": {"top_k": 12}, "bm25": {"top_k": 6}},
            "recipe": recipe,
            "num_negatives": 3,
            "planted": 0.5,
            "seed": 1,
            **changes,
        }
        context = Context(open_storage(str(root)), lambda: InlineExecutor(1), Recorder())
        return context, mine_round(MineSettings.model_validate(made), context)

    return mine


def content(context, result):
    """Training rows, training files and the planted positives' fate, without the selection's id."""
    record = find_round(context.storage, result.round)
    selection = record.selection(result.selection_id)
    rows = read_parts(context.storage, stored_stage(context.storage, selection.select).parts, "rows.parquet").drop_columns(["selection_id"])
    shards = [
        file.checksum
        for part in stored_stage(context.storage, selection.shards["triplet"]).parts
        for file in part.files
        if "sidecar" not in file.name
    ]
    probes = next(stored_stage(context.storage, ref) for ref in record.stages if ref.stage == "probe")
    return rows, shards, read_parts(context.storage, probes.parts, "probes.parquet")


def asked(result):
    return sum(stage.model_calls for stage in result.stages if stage.stage == "score")


@pytest.fixture(scope="module", params=[ROCKETQA, pytest.param(HARDMINE, marks=pytest.mark.slow)], ids=lambda recipe: recipe["name"])
def both(request, mined, tmp_path_factory):
    root = tmp_path_factory.mktemp("roots")
    return request.param, mined(root / "full", lazy=False, recipe=request.param), mined(root / "lazy", lazy=True, recipe=request.param)


def test_the_training_rows_are_the_same_and_pairs_are_saved(both):
    _, (full_context, full), (context, lazy) = both
    expected, found = content(full_context, full), content(context, lazy)
    assert found[0].equals(expected[0])
    assert found[1] == expected[1]
    assert found[2].equals(expected[2])
    assert 0 < asked(lazy) < asked(full)
    partial = find_round(context.storage, lazy.round).settings["partial"]
    assert partial == {"pairs": asked(full), "scored": asked(lazy), "saved": asked(full) - asked(lazy)}
    assert any(f"teacher scored {asked(lazy):,} of {asked(full):,} pairs; {partial['saved']:,} saved" in note for note in lazy.notes)
    assert lazy.candidate_set_id != full.candidate_set_id
    estimates = lazy.selection.measures["estimates"]
    assert estimates["planted_survival"][:4] == full.selection.measures["estimates"]["planted_survival"][:4]
    assert not {"calibrated_teacher", "planted_survival_weighted"} & estimates.keys()


def test_again_is_cached_and_select_with_the_same_recipe_too(both, mined):
    recipe, _, (context, lazy) = both
    _, again = mined(context.storage.root, lazy=True, recipe=recipe)
    assert all(stage.cached for stage in again.stages)
    assert again.round == lazy.round
    record = find_round(context.storage, lazy.round)
    _, selected = select_again(context, record, recipe, None, (), truncate=False)
    assert selected.record.selection_id == lazy.selection_id


def test_a_partial_candidate_set_serves_nobody_else(both):
    recipe, _, (context, lazy) = both
    record = find_round(context.storage, lazy.round)
    assert stored_table(context.storage, record).is_partial
    for other, number in (({"name": "top", "depth": 12}, None), ({**recipe, "ceiling": 0.45}, None), (recipe, 2)):
        with pytest.raises(UsageError, match=f"the candidates are partial.*{recipe['name']} with 3 negatives"):
            select_again(context, record, other, number, (), truncate=True)
    with pytest.raises(UsageError, match="a threshold is read from all of them"):
        find_threshold(context, record, AdviceRequest(rate=0.1))
    with pytest.raises(UsageError, match="promotion looks at all"):
        promote_round(context, record, PromotionSettings(), dry_run=True)
    with pytest.raises(UsageError, match="the candidates are partial"):
        compare(context, record, CompareRequest(recipes=("top",), truncate=True))
    found = compare(context, record, CompareRequest(truncate=True))
    assert found.outcomes == () and "partial" in found.left_out["top"]
    assert [one.recipe for one in compare(context, record, CompareRequest(recipes=(recipe,))).outcomes] == [recipe["name"]]


def test_the_report_says_that_the_round_is_partial(both, tmp_path):
    _, _, (context, lazy) = both
    page = report(context, find_round(context.storage, lazy.round), tmp_path / "report.html", (), None, 0).read_text()
    assert "The teacher scored only what the recipes needed" in page


def test_a_full_round_after_a_lazy_one_scores_the_rest(both, mined):
    recipe, (full_context, full), (context, lazy) = both
    _, now = mined(context.storage.root, lazy=False, recipe=recipe)
    assert asked(now) == asked(full) - asked(lazy)
    assert now.candidate_set_id == full.candidate_set_id
    scored = read_parts(
        context.storage, stored_table(context.storage, find_round(context.storage, now.round)).scored, "scored.parquet", ["teacher_logit"]
    )
    assert scored.num_rows - pc.sum(pc.is_null(scored["teacher_logit"])).as_py() >= asked(full)
    again = mined(full_context.storage.root, lazy=True, recipe=recipe)[1]
    assert asked(again) == 0 and again.candidate_set_id == lazy.candidate_set_id, "what the pair store holds changes no byte"


@pytest.mark.slow
def test_several_recipes_share_what_was_scored(mined, tmp_path):
    other = {"name": "middle-band", "depth": 10, "low": 0.0, "high": 0.5}
    context, lazy = mined(tmp_path / "lazy", lazy=True, recipes=[other])
    full_context, full = mined(tmp_path / "full", lazy=False, recipes=[other])
    for one, other_one in zip(lazy.selections, full.selections, strict=True):
        given = (
            lazy.model_copy(update={"selection_id": one.selection_id}),
            full.model_copy(update={"selection_id": other_one.selection_id}),
        )
        assert content(context, given[0])[0].equals(content(full_context, given[1])[0])


def test_a_recipe_that_needs_all_scores_is_refused_before_any_model_runs(mined, tmp_path):
    with pytest.raises(UsageError, match=r"'pair' does not go with teacher\.lazy: its pseudo-positives") as refused:
        mined(tmp_path, lazy=True, recipe={"name": "pair", "depth": 15})
    assert "teacher.lazy: false" in refused.value.mend
    assert not list((tmp_path / "manifests").glob("embed*"))
    with pytest.raises(ValueError, match="teacher_calibrated"):
        mined(tmp_path, lazy=True, score="teacher_calibrated")
