"""Further sources in whole rounds: their ranks and scores are columns, recipes draw by them, and errors come before any model runs."""

import json

import pytest

from flows.mine import mine_round
from flows.settings import MineSettings
from flows.stored import find_round, stored_table
from tasks.errors import InputError, UsageError
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.store.storage import open_storage
from tasks.store.tables import read_parts
from tests.e2e.conftest import write_collection
from tests.runner.test_runner import Recorder

MODEL = {"path": "packaged", "max_length": 32, "dtype": "float32", "device": "cpu"}


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("collection") / "beir")


def settings(root, collection, further, **changes):
    given = {
        "root": str(root),
        "dataset": {"name": "small", "format": "beir", "path": str(collection), "document_partitions": 2, "query_partitions": 2},
        "model": MODEL,
        "retrieve": {"dense": {"top_k": 12}, "bm25": None, "further": further},
        "recipe": {"name": "top", "depth": 8},
        "num_negatives": 2,
        "planted": 0,
        **changes,
    }
    return MineSettings.model_validate(given)


def mine(settings):
    context = Context(open_storage(settings.root), lambda: InlineExecutor(1), Recorder())
    return context, mine_round(settings, context)


def scored(context, result):
    table = stored_table(context.storage, find_round(context.storage, result.round))
    return table, read_parts(context.storage, table.scored, "scored.parquet").to_pylist()


def run_file(folder, rows):
    path = folder / "splade.trec"
    path.write_text("".join(f"{query} Q0 {doc} {rank} {score} splade\n" for query, doc, rank, score in rows))
    return str(path)


def test_a_run_another_model_and_earlier_rounds_are_columns_that_recipes_use(tmp_path, collection):
    far = [(f"q{number}", f"d{(number + 20 + place) % 48}-2", place + 1, 9.0 - place) for number in range(48) for place in range(5)]
    further = [
        {"name": "splade", "kind": "run", "files": run_file(tmp_path, far), "top_k": 4},
        {"name": "prompted", "kind": "encoder", "top_k": 6, "model": {**MODEL, "query_prompt": "find: "}},
    ]
    drawn = {"rules": [{"kind": "duplicate"}], "draws": [{"order": {"kind": "top", "by": "splade_score"}, "pool": "splade_rank <= 3"}]}
    recipe = {"name": "splade-top", "needs": {"sources": {"dense": 12, "splade": 4}}, **drawn}
    context, result = mine(settings(tmp_path / "root", collection, further, recipe=recipe))
    table, rows = scored(context, result)
    assert table.sources == ["dense", "splade", "prompted"]
    assert table.depths["prompted"] == 6
    mine_of = [row for row in rows if row["query_id"] == "q3"]
    assert {row["doc_id"]: (row["splade_rank"], row["splade_score"]) for row in mine_of if row["splade_rank"]} == {
        "d23-2": (1, 9.0),
        "d24-2": (2, 8.0),
        "d25-2": (3, 7.0),
        "d26-2": (4, 6.0),
    }
    assert all(row["prompted_score"] is not None for row in rows)
    assert sorted(row["prompted_rank"] for row in mine_of if row["prompted_rank"]) == [1, 2, 3, 4, 5, 6]
    select = read_parts(context.storage, _selected(context, result), "decisions.parquet").to_pylist()
    negatives = {row["doc_id"] for row in select if row["decision"] == "negative" and row["query_id"] == "q3"}
    assert negatives == {"d23-2", "d24-2"}

    earlier = [{"name": "before", "kind": "rounds"}]
    changed = settings(tmp_path / "root", collection, earlier, model={**MODEL, "query_prompt": "find: "})
    context, later = mine(changed)
    assert later.round == "small/2"
    _, rows = scored(context, later)
    before = {row["doc_id"]: row["before_rank"] for row in rows if row["query_id"] == "q3" and row["before_rank"]}
    assert set(before) == negatives
    assert sorted(before.values()) == [1, 2], "in the order of their slots"
    context, again = mine(changed)
    assert again.round == "small/2", "a round is none of its own earlier ones"


def _selected(context, result):
    from flows.stored import stored_stage

    record = find_round(context.storage, result.round)
    return stored_stage(context.storage, record.selection(result.selection_id).select).parts


def test_unknown_ids_stop_before_any_model_runs(tmp_path, collection):
    path = run_file(tmp_path, [("q1", "d1-0", 1, 2.0), ("q1", "d999", 2, 1.0)])
    wrong = settings(tmp_path / "root", collection, [{"name": "splade", "kind": "run", "files": path}])
    context = Context(open_storage(wrong.root), lambda: InlineExecutor(1), recorder := Recorder())
    with pytest.raises(InputError, match=r"splade\.trec:2: there is no document 'd999'"):
        mine_round(wrong, context)
    assert {event[1] for event in recorder.events if event[0] == "start"} <= {
        "ingest",
        "documents",
        "query-groups",
        "queries",
        "given-candidates",
    }


@pytest.mark.parametrize(
    ("further", "error", "said"),
    [
        ({"name": "run", "kind": "run", "files": "nowhere.trec"}, InputError, r"retrieve\.further\.run\.files: no file .*nowhere\.trec"),
        ({"name": "old", "kind": "rounds", "rounds": [7]}, InputError, "dataset small has no round 7"),
    ],
)
def test_what_is_not_there_is_said_at_once(tmp_path, collection, further, error, said):
    wrong = settings(tmp_path / "root", collection, [further]).resolved(tmp_path)
    with pytest.raises(error, match=said):
        mine(wrong)


def test_a_recipe_of_a_source_that_is_not_there(tmp_path, collection):
    recipe = {"name": "x", "needs": {"sources": {"dense": 12, "splade": 4}}, "rules": [], "draws": [{}]}
    with pytest.raises(UsageError, match="needs a source 'splade'") as error:
        mine(settings(tmp_path / "root", collection, [], recipe=recipe))
    assert "retrieve.further" in error.value.mend


def test_paths_of_sources_start_at_the_folder_of_run_yaml(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    further = [{"name": "a", "kind": "run", "files": "runs/*.trec"}, {"name": "b", "kind": "encoder", "model": {"path": "model"}}]
    made = settings("./root", "c", further).resolved(tmp_path).retrieve.further
    assert made[0].files == (str(tmp_path / "runs/*.trec"),)
    assert made[1].model.path == str(model)
    assert json.loads(made[0].model_dump_json())["kind"] == "run"
