"""What is deployed, without a server."""

from pathlib import Path

import jsonschema
import pytest
import yaml
from prefect.flows import load_flow_from_entrypoint

from flows.deployed.catalogue import DEPLOYABLES, NIGHTLY, TAG
from flows.deployed.forms import Choice, Models, Place, Source, further_values, merged
from flows.deployed.mining import settings_of
from flows.deployed.place import place_of
from flows.deployed.teaching import page, teacher_settings, told
from flows.teaching import Taught
from tasks.errors import UsageError
from tasks.select.registry import recipe_names

YAML = Path(__file__).parents[2] / "deployments" / "prefect.yaml"
NAMES = ("quickstart", "mine", "select", "train", "train-teacher", "evaluate", "remine", "report")


def schema(name):
    return next(one for one in DEPLOYABLES if one.flow.name == name).flow.parameters.model_dump()


def test_the_eight_flows_are_found_by_their_module_path():
    assert tuple(one.flow.name for one in DEPLOYABLES) == NAMES
    for one in DEPLOYABLES:
        assert load_flow_from_entrypoint(one.entrypoint, use_placeholder_flow=False).name == one.flow.name


def test_prefect_yaml_says_what_the_code_says():
    whole = yaml.safe_load(YAML.read_text())
    assert whole["pull"] == [{"prefect.deployments.steps.set_working_directory": {"directory": "."}}]  # no folder of this machine
    written = whole["deployments"]
    assert len(written) == 24  # eight flows on three kinds of pool
    for one in DEPLOYABLES:
        entries = [entry for entry in written if entry["entrypoint"] == one.entrypoint]
        assert {entry["name"] for entry in entries} == {one.flow.name, f"{one.flow.name}-docker", f"{one.flow.name}-kubernetes"}
        assert {entry["work_pool"]["name"] for entry in entries} == {"hardmine", "hardmine-docker", "hardmine-kubernetes"}
        for entry in entries:
            assert entry["tags"] == [TAG, *one.tags]
            assert entry["concurrency_limit"] == {"limit": one.limit, "collision_strategy": "ENQUEUE"}
            nightly = [{"cron": NIGHTLY, "active": False, "slug": "nightly"}] if one.cron else None
            assert entry.get("schedules") == nightly
    pools = whole["definitions"]
    image = {"image": "{{ $HARDMINE_IMAGE }}"}
    given = {name: f"{{{{ ${name} }}}}" for name in ("HARDMINE_ROOT", "HARDMINE_CLUSTER")}
    assert pools["docker"]["job_variables"] == {**image, "env": given}
    assert pools["kubernetes"]["job_variables"] == image  # root and cluster are the config map's


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_a_form_is_described(name):
    found = schema(name)
    for field, said in found["properties"].items():
        form = found.get("definitions", {}).get(said.get("$ref", "").rpartition("/")[2], {})  # the form's own words stand for a group's
        assert said.get("description") or form.get("description"), f"{name}.{field}"
    for form in found.get("definitions", {}).values():
        positions = [said["position"] for said in form["properties"].values()]
        assert positions == list(range(len(positions)))
        assert all(said.get("description") for said in form["properties"].values())


def test_recipes_and_formats_are_choices():
    choice = schema("mine")["definitions"]["Choice"]["properties"]
    assert choice["recipe"]["enum"] == recipe_names()
    assert choice["beside"]["items"]["enum"] == recipe_names()
    assert "triplet" in choice["formats"]["items"]["enum"]
    assert schema("select")["properties"]["recipe"]["enum"] == recipe_names()
    assert "masked_multiple_negatives_ranking" in schema("train")["properties"]["loss"]["enum"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mine", {"dataset": {"name": "a b"}}),
        ("mine", {"dataset": {"name": "a"}, "negatives": {"recipe": "none such"}}),
        ("mine", {"dataset": {"name": "a"}, "negatives": {"num_negatives": 0}}),
        ("mine", {"dataset": {"name": "a"}, "publishing": {"ask_above": 1.5}}),
        ("mine", {}),
        ("train", {"epochs": 0}),
        ("train-teacher", {}),
        ("train-teacher", {"dataset": {"name": "a"}, "epochs": 0}),
        ("evaluate", {"split": "train"}),
        ("remine", {"dataset": "a", "stale_above": 2}),
    ],
)
def test_the_forms_schema_refuses_bad_values(name, values):
    found = schema(name)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, {**found, "$defs": found.get("definitions", {})})


def test_a_filled_form_becomes_a_runs_settings(tmp_path):
    source = Source(name="small", format="docstrings", packages="numpy  pandas")
    models = Models(teacher="trained in the run", teacher_depth=20)
    choice = Choice(recipe="rocketqa", beside=["top"], num_negatives=3, formats=["triplet", "n-tuple"])
    further = "{retrieve: {dense: {top_k: 70}}, teacher: {max_length: 64}}"
    found = settings_of(source, models, choice, Place(root=str(tmp_path), workers=2), further)
    assert found.dataset.packages == ("numpy", "pandas")
    assert (found.root, found.workers, found.cluster) == (str(tmp_path), 2, "local")
    assert (found.recipe, found.recipes, found.num_negatives, found.formats) == ("rocketqa", ("top",), 3, ("triplet", "n-tuple"))
    assert found.teacher.train is not None
    assert (found.teacher.depth, found.teacher.max_length, found.retrieve.dense.top_k) == (20, 64, 70)


def test_an_empty_cluster_is_the_one_of_the_environment(monkeypatch):
    monkeypatch.delenv("HARDMINE_CLUSTER", raising=False)
    found = place_of(Place(root="s3://bucket/mine", workers=3))
    assert found == {"root": "s3://bucket/mine", "cluster": "local", "workers": 3, "worker_patience": 300}
    monkeypatch.setenv("HARDMINE_CLUSTER", "tcp://scheduler:8786")
    assert place_of(Place(root="s3://bucket/mine"))["cluster"] == "tcp://scheduler:8786"
    assert place_of(Place(root="s3://bucket/mine", cluster="local"))["cluster"] == "local"


def test_an_empty_root_is_the_one_of_the_environment_which_must_say_something(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARDMINE_ROOT", raising=False)
    assert place_of(Place())["root"] == place_of(Place(root=" "))["root"] == str(tmp_path / "mining")
    monkeypatch.setenv("HARDMINE_ROOT", "s3://bucket/mine")
    assert place_of(Place())["root"] == "s3://bucket/mine"
    for nothing in ("", "  "):
        monkeypatch.setenv("HARDMINE_ROOT", nothing)
        assert place_of(Place(root="here"))["root"] == str(tmp_path / "here")  # nobody asks for it
        with pytest.raises(UsageError, match="HARDMINE_ROOT is set, but empty") as refused:
            place_of(Place())
        assert "s3://bucket/prefix" in refused.value.mend


def test_rounds_and_train_may_be_given_as_further_settings(tmp_path):
    found = settings_of(Source(name="a", path=str(tmp_path)), Models(), Choice(), Place(), "{rounds: 3, train: {epochs: 2}}")
    assert (found.rounds, found.train.epochs, found.trains) == (3, 2, True)


def test_a_teachers_form_becomes_a_runs_settings(tmp_path):
    further = "{dataset: {splits: {train: 0.8, dev: 0.2}}, teacher: {train: {folds: 0}}}"
    found = teacher_settings(Source(name="a", path=str(tmp_path)), "packaged", "packaged", 20, 3, Place(root=str(tmp_path)), further)
    assert (found.teacher.depth, found.teacher.train.epochs, found.teacher.train.folds) == (20, 3, 0)
    assert (found.dataset.splits.train, found.root, found.trains) == (0.8, str(tmp_path), False)


def test_what_is_told_of_a_teacher():
    facts = {"pairs": 3694.0, "auc_before": 0.5, "auc_after": 0.91}
    taught = Taught(dataset="a", models=("root:m",), fingerprints=("f",), facts=facts)
    assert told(taught) == "3,694 pairs; AUC 0.500 before, 0.910 after"
    assert "no query is held out" in page(taught)
    figures = {"mean": 0.7, "low": 0.6, "high": 0.8}
    gain = {"mean": 0.02, "low": -0.01, "high": 0.05}
    measured = taught.model_copy(update={"split": "dev", "queries": 40, "measures": {"nDCG@10": figures}, "gain": {"nDCG@10": gain}})
    assert told(measured).endswith("; nDCG@10 on dev 0.7000 (+0.0200 against the retriever)")
    assert "| nDCG@10 | 0.7000 | +0.0200 (-0.0100 to +0.0500) |" in page(measured)


def test_further_settings_must_be_a_mapping():
    assert further_values("  ") == {}
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}, "d": 4}) == {"a": {"b": 3, "c": 2}, "d": 4}
    for text in ("[1, 2]", "{a: "):
        with pytest.raises(UsageError, match="further"):
            further_values(text)


def test_a_form_that_asks_for_a_teacher_without_a_path_is_refused(tmp_path):
    with pytest.raises(UsageError, match="teacher"):
        settings_of(Source(name="a", path=str(tmp_path)), Models(teacher="given below"), Choice(), Place(), "")
