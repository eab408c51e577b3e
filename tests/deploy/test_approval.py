"""What is asked, and what each answer publishes; the asking itself is clicked through in tests/ui."""

import pytest

from flows.cache_only import Quiet
from flows.deployed.approval import Discarded, decided, rate_of, without_suspects
from flows.deployed.artifacts import artifact_key
from flows.mine import mine_round
from tasks.audit.records import read_round
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe
from tests.deploy.conftest import copied


def test_the_estimate_that_is_believed_most_counts():
    shown = {
        "calibrated_teacher": [0.2, 0.1, 0.3, 100, ""],
        "planted": [0.05, 0.0, 0.1, 40, ""],
        "planted_survival": [0.9, 0.8, 1.0, 40, ""],
    }
    assert rate_of({"estimates": shown}) == ("planted", 0.05)
    assert rate_of({"estimates": {"calibrated_teacher": [0.2, 0.1, 0.3, 100, ""]}}) == ("calibrated_teacher", 0.2)
    assert rate_of({"estimates": {"review": [None, None, None, 0, ""], "judged": [0.3, 0.2, 0.4, 9, ""]}}) == ("judged", 0.3)
    assert rate_of({"estimates": {"planted_survival": [0.9, 0.8, 1.0, 40, ""]}}) is None
    assert rate_of({}) is None


@pytest.mark.parametrize("name", ["top", "hardmine", "rocketqa"])
def test_without_suspects_adds_one_rule_on_the_calibrated_probability(name):
    recipe = compose_recipe(name, Facts(3, 1))
    found = without_suspects(recipe, 0.05)
    assert found.name == f"{name}-approved"
    assert found.rules[:-1] == recipe.rules
    assert found.rules[-1].name == "approval"
    assert found.rules[-1].rejects() == '"teacher_calibrated" >= 0.05::FLOAT'
    assert found.draws == recipe.draws


@pytest.mark.parametrize(("dataset", "key"), [("cranfield", "round-cranfield"), ("My_Set-2", "round-my-set-2"), ("a__", "round-a")])
def test_keys_of_artifacts_are_what_prefect_takes(dataset, key):
    assert artifact_key("round", dataset) == key


def answer(storage, settings, decision):
    """The round's record, after a run whose question got an answer."""

    def approve(selected, again):
        assert selected.result.recipe == "top"
        return decided(decision, selected, again, 0.05, "about 9.0 % are relevant")

    mine_round(settings, Context(storage, lambda: InlineExecutor(1), Quiet()), approve)
    return read_round(storage, "small")


def recipes(record):
    return [one.recipe for one in record.selections]


def test_discard_publishes_nothing(mined, tmp_path):
    storage, settings = copied(mined, tmp_path)
    with pytest.raises(Discarded, match=r"the round was discarded: about 9\.0 % are relevant"):
        answer(storage, settings, "discard")
    assert recipes(read_round(storage, "small")) == ["nv-retriever"]


def test_publish_without_suspects_publishes_the_selection_made_anew(mined, tmp_path):
    record = answer(*copied(mined, tmp_path), "publish without suspects")
    assert recipes(record) == ["nv-retriever", "top-approved"]
    published = record.selection(record.selection_id)
    assert published.recipe == "top-approved"
    assert published.recipe_settings["rules"][-1]["ceiling"] == 0.05


def test_publish_publishes_what_was_asked_about(mined, tmp_path):
    assert recipes(answer(*copied(mined, tmp_path), "publish")) == ["nv-retriever", "top"]
