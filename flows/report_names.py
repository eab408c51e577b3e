"""What a report compares: the round's own selections, each at its own settings, and further recipes; and what it calls them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flows.compare import CompareRequest, Comparison, Wanted, compare
from flows.measuring import round_truth
from flows.stored import stored_facts
from tasks.audit.records import RoundRecord, SelectionRecord
from tasks.errors import InputError, UsageError
from tasks.runner.runner import Context
from tasks.select.recipe import Facts
from tasks.select.registry import compose_recipe, recipe_names

BASELINE = "top"
_SHOWN = 6  # characters of an id


@dataclass(frozen=True)
class Compared:
    """What a report compares.

    Args:
        wanted: recipes as :class:`flows.compare.CompareRequest` takes them: the round's selections in their order, then further ones.
        names: of each.
        labels: of the selections, by id: the recipe's name, with the beginning of the id where the name says too little.
        baseline: the name of plain top-K.
    """

    wanted: tuple[Wanted, ...]
    names: tuple[str, ...]
    labels: dict[str, str]
    baseline: str

    def named(self, comparison: Comparison) -> Comparison:
        """The same comparison with these names; its outcomes are in the order of ``wanted``."""
        names = dict(zip((one.recipe for one in comparison.outcomes), self.names, strict=True))
        outcomes = [
            one.model_copy(
                update={"recipe": names[one.recipe], "overlap": {names.get(other, other): met for other, met in one.overlap.items()}}
            )
            for one in comparison.outcomes
        ]
        curves = [line.model_copy(update={"family": names[line.family]}) for line in comparison.curves]
        return comparison.model_copy(update={"outcomes": tuple(outcomes), "curves": tuple(curves)})


def compared(record: RoundRecord, recipes: Sequence[Wanted]) -> Compared:
    """What to compare.

    Args:
        record: the round.
        recipes: beside its own; none: plain top-K, unless its candidates are partial. Those that a selection of the round is by are not
            repeated.

    Raises:
        UsageError: a recipe is unknown, or its settings do not fit together.
    """
    facts = stored_facts(record)
    own = {one.selection_id: _wanted(record, one, facts) for one in record.selections}
    known = [one.recipe_settings for one in record.selections]
    default = [] if "partial" in record.settings else [BASELINE]  # partial candidates serve their own recipes alone
    asked = [(one, compose_recipe(one, facts)) for one in recipes or default]
    further = [(one, recipe.name) for one, recipe in asked if one not in own.values() and recipe.model_dump(mode="json") not in known]
    labels = selection_labels(record, {name for _, name in further})
    names = list(labels.values())
    for _, name in further:
        names.append(name if name not in names else f"{name} #{sum(each.split(' #')[0] == name for each in names) + 1}")
    baseline = next((labels[selection] for selection, one in own.items() if one == BASELINE), BASELINE)
    return Compared((*own.values(), *(one for one, _ in further)), tuple(names), labels, baseline)


def compare_judged(context: Context, record: RoundRecord, request: CompareRequest) -> Comparison:
    """Compare by the judgements that are given, else by those that the round was measured by, where they reach what is compared."""
    own = round_truth(context.storage, record.settings) if request.truth is None else None
    if own is not None:
        try:
            return compare(context, record, replace(request, truth=own))
        except InputError:  # they judge none of these queries: the estimates stand alone
            pass
    return compare(context, record, request)


def selection_labels(record: RoundRecord, taken: set[str] | None = None) -> dict[str, str]:
    """Names of a round's selections by id: the recipe's where that is one selection's only and not ``taken``, else with part of the id."""
    often = Counter([*(one.recipe for one in record.selections), *(taken or ())])
    return {
        one.selection_id: one.recipe if often[one.recipe] == 1 else f"{one.recipe} {one.selection_id[:_SHOWN]}" for one in record.selections
    }


def _wanted(record: RoundRecord, selection: SelectionRecord, facts: Facts) -> Wanted:
    """A selection's recipe: as published or as the run asked for it, where that is what it was; else as composed."""
    asked = [selection.recipe, record.settings.get("recipe"), *(record.settings.get("recipes") or ())]
    if not selection.recipe_settings:
        return selection.recipe
    for wanted in asked:
        if _name(wanted) == selection.recipe in recipe_names() and _composed(wanted, facts) == selection.recipe_settings:
            return wanted  # type: ignore[no-any-return]
    return selection.recipe_settings


def _name(wanted: Any) -> str:
    return str(wanted.get("name", "")) if isinstance(wanted, dict) else str(wanted)


def _composed(wanted: Wanted, facts: Facts) -> dict[str, Any]:
    """Its settings, none where it does not fit any more."""
    try:
        return compose_recipe(wanted, facts).model_dump(mode="json")
    except UsageError:
        return {}
