"""What a selection tells those who train on it."""

import pytest

from flows.selection import shard_settings
from flows.settings import MineSettings
from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe
from tasks.select.rules.registry import RULES
from tasks.shards.settings import SUSPECT_REASONS

# Rules that refuse for another reason than that the document is probably relevant.
OTHER = {
    "angle",
    "below_mean",
    "language",
    "middle_band",
    "min_score",
    "other_cluster",
    "quantile",
    "rank_range",
    "rank_skip",
    "same_group",
    "token_limit",
    "where",
    "window",
}


def test_each_rule_says_whether_it_means_relevant():
    kinds = {rule.model_fields["kind"].default for rule in RULES}
    assert kinds - OTHER == set(SUSPECT_REASONS) - {"labelled", "planted"}
    assert kinds >= OTHER


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [("hardmine", "likely_relevant"), ("rocketqa", "teacher_ceiling"), ("nv-retriever", "relative_margin"), ("rance", "duplicate")],
)
def test_what_a_recipe_refuses_as_relevant_is_masked_in_training(recipe, reason):
    settings = MineSettings.model_validate({"dataset": {"name": "toy", "format": "beir", "path": "toy"}, "recipe": recipe})
    assert reason in shard_settings(settings, compose_recipe(recipe, Facts(5, 1))).suspect_reasons
