"""How a recipe is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from tasks.settings import Settings


class MeasureSettings(Settings):
    """How a recipe is measured."""

    num_negatives: int = Field(5, ge=0, description="Negatives that a training row should have.")
    stage_negatives: dict[str, int] = Field(default_factory=dict, description="The same for single training stages, where it differs.")
    backfill: tuple[str, ...] = Field(("backfill",), description="Draws that only fill up what the recipe's own draws left.")
    temperature: float = Field(0.05, gt=0, description="τ of the softmax that weighs a leak by its gradient.")
    relevant_label: float = Field(0.0, description="A document drawn with a higher label is trained as relevant: no negative.")
    confidence: float = Field(0.95, gt=0, lt=1, description="Of the intervals.")

    @classmethod
    def of_recipe(cls, recipe: Mapping[str, Any], **more: Any) -> MeasureSettings:
        """Settings for a composed recipe: what its rows should have, and which of its draws are backfill.

        A stage all of whose draws say how many they take asks for their sum; others are filled up to ``num_negatives``.

        Args:
            recipe: ``Recipe.model_dump()``.
            more: settings to take as they are.
        """
        wanted = int(recipe["num_negatives"])
        takes: dict[str, list[int | None]] = {}
        for draw in recipe["draws"]:
            takes.setdefault(draw["stage"], []).append(draw["take"])
        fixed = {stage: [take or 0 for take in each] for stage, each in takes.items()}
        asked = {stage: sum(fixed[stage]) if None not in each else max(wanted, sum(fixed[stage])) for stage, each in takes.items()}
        backfill = dict.fromkeys(draw["name"] for draw in recipe["draws"] if draw["name"] == "backfill" or draw["waive"])
        found = {
            "num_negatives": wanted,
            "stage_negatives": {stage: count for stage, count in asked.items() if count != wanted},
            "backfill": tuple(backfill),
        }
        return cls.model_validate({**found, **more})
