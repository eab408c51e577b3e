"""Which rounds a checkpoint comes from: the round that it was trained on, the one before that, and so on."""

from __future__ import annotations

from collections.abc import Sequence

from flows.settings import MineSettings
from tasks.audit.checkpoints import TrainingRecord, read_trainings
from tasks.audit.records import RoundRecord, SelectionRecord, list_rounds
from tasks.models.fingerprint import query_spec
from tasks.store.storage import Storage


def ancestors(trainings: Sequence[TrainingRecord], model: str) -> list[int] | None:
    """Rounds behind a checkpoint, the newest first.

    Args:
        trainings: of the dataset's retrievers.
        model: the checkpoint's fingerprint.

    Returns:
        Numbers; empty for a model that trainings began with; none: nothing is known of it (another trainer's).
    """
    behind = {one.model: one for one in reversed(trainings) if one.kind == "retriever"}
    if model not in behind:
        return [] if any(one.base == model for one in trainings) else None
    found: list[int] = []
    while model in behind and behind[model].round not in found:
        found.append(behind[model].round)
        model = behind[model].base
    return found


def trainings_behind(trainings: Sequence[TrainingRecord], models: Sequence[str]) -> list[TrainingRecord]:
    """All trainings of retrievers that some checkpoints come from, each from what the one before it made, the newest first.

    Args:
        trainings: of one dataset or several.
        models: the checkpoints' fingerprints.
    """
    by: dict[str, list[TrainingRecord]] = {}
    for one in trainings:
        if one.kind == "retriever":
            by.setdefault(one.model, []).append(one)
    waiting, seen, found = list(models), set[str](), list[TrainingRecord]()
    while waiting:
        model = waiting.pop(0)
        if model not in seen:
            seen.add(model)
            found += by.get(model, [])
            waiting += [one.base for one in by.get(model, [])]
    return found


def rounds_behind(storage: Storage, settings: MineSettings, rounds: Sequence[RoundRecord]) -> list[RoundRecord]:
    """Of a dataset's rounds those that the settings' checkpoint comes from; all of them where nothing is known of it."""
    numbers = ancestors(read_trainings(storage, settings.dataset.name), query_spec(settings.model, storage).weights)
    return list(rounds) if numbers is None else [record for record in rounds if record.number in numbers]


def earlier_selections(
    storage: Storage, record: RoundRecord, settings: MineSettings, recipe: str
) -> list[tuple[RoundRecord, SelectionRecord]]:
    """Selections by a recipe of the rounds that a round's checkpoint comes from, in order of the rounds.

    Args:
        storage: the root.
        record: the round.
        settings: that it was mined with.
        recipe: name.
    """
    before = [one for one in list_rounds(storage, record.dataset) if one.number < record.number]
    behind = rounds_behind(storage, settings, before)
    return [(one, chosen) for one in behind for chosen in one.selections if chosen.recipe == recipe]
