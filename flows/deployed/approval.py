"""Asking a person before a doubtful round is published."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from prefect import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from flows.rates import in_words
from flows.selection import Selected
from tasks.errors import HardmineError
from tasks.select.recipe import Recipe
from tasks.select.rules.scores import TeacherCeiling

#: what is believed, first to last; survival of probes is no rate of false negatives
ESTIMATORS = ("review", "judged", "planted", "calibrated_teacher")
LIKELY = "teacher_calibrated"

Again = Callable[[Recipe], Selected]


class Discarded(HardmineError):
    """A person decided against the round."""


class Decision(RunInput):
    """Publish the round as it is, publish it without suspects (negatives whose probability reaches the limit), or discard it."""

    decision: Literal["publish", "publish without suspects", "discard"] = Field(description="What happens with the round.")


class PlainDecision(RunInput):
    """Publish the round as it is, or discard it; without a calibrated teacher no suspects can be named."""

    decision: Literal["publish", "discard"] = Field(description="What happens with the round.")


def rate_of(measures: Mapping[str, Any]) -> tuple[str, float] | None:
    """The estimate of a selection's false negatives that is believed most: its name and the rate.

    Args:
        measures: of :class:`flows.results.SelectionResult`.
    """
    found = measures.get("estimates") or {}
    for name in ESTIMATORS:
        if name in found and found[name][0] is not None:
            return name, float(found[name][0])
    return None


def without_suspects(recipe: Recipe, limit: float) -> Recipe:
    """The same recipe, which refuses what is as likely relevant as the limit: so the rest's expected rate is under it.

    Args:
        recipe: as composed.
        limit: of the calibrated probability.
    """
    rule = TeacherCeiling(score=LIKELY, ceiling=limit, on_null="keep", reason="approval")
    return recipe.model_copy(update={"name": f"{recipe.name}-approved", "rules": (*recipe.rules, rule)})


def ask(limit: float, wait_hours: int) -> Callable[[Selected, Again], Selected]:
    """What ``mine_round`` asks before it publishes.

    Args:
        limit: an estimated rate over this suspends the run until a person decides; the run then begins again, and finds all
            stages done.
        wait_hours: how long it waits.
    """

    def approve(selected: Selected, again: Again) -> Selected:
        estimate = rate_of(selected.result.measures)
        if estimate is None or estimate[1] <= limit:
            return selected
        told = told_rate(selected.result.measures, estimate, limit)
        kind = Decision if "calibrated_teacher" in selected.result.measures["estimates"] else PlainDecision
        asked = kind.with_initial_data(description=f"Recipe **{selected.result.recipe}**: {told}.\n\n{kind.__doc__}", decision="discard")
        answer = suspend_flow_run(wait_for_input=asked, timeout=wait_hours * 3600, key=f"approve-{selected.record.selection_id[:16]}")
        return decided(answer.decision, selected, again, limit, told)

    return approve


def told_rate(measures: Mapping[str, Any], estimate: tuple[str, float], limit: float) -> str:
    """Why it is asked: the rate, what says so, and the limit.

    Args:
        measures: of :class:`flows.results.SelectionResult`.
        estimate: of :func:`rate_of`.
        limit: that it is over.
    """
    words = in_words(estimate[0], bool(measures.get("calibration")))
    return f"{words}: {100 * estimate[1]:.1f} %, the limit is {100 * limit:.1f} %"


def decided(decision: str, selected: Selected, again: Again, limit: float, told: str) -> Selected:
    """What an answer publishes.

    Args:
        decision: of :class:`Decision`.
        selected: what was asked about.
        again: selects anew by another recipe.
        limit: that its estimated rate is over.
        told: why it was asked, in words.

    Raises:
        Discarded: nothing.
    """
    if decision == "discard":
        raise Discarded(f"the round was discarded: {told}", "change the recipe or its limits, and mine again: no model runs twice")
    if decision == "publish":
        return selected
    return again(without_suspects(Recipe.model_validate(selected.record.recipe_settings), limit))
