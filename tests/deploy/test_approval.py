"""What is asked, and what each answer publishes; the asking itself is clicked through in tests/ui."""

import pytest

from flows.deployed.approval import rate_of, without_suspects
from flows.deployed.artifacts import artifact_key
from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe


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
