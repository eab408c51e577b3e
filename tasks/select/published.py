"""Named recipes: settings of a published method, and how they compose into rules and draws."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from tasks.select.recipe import Facts, Recipe
from tasks.select.rules import AnyRule, Duplicate, NearDuplicate
from tasks.settings import Settings

Certainty = Literal["code", "code, in part", "paper", "third party", "own"]


class Published(Settings):
    """Base of all named recipes. A subclass' docstring's first line is its summary in lists."""

    paper: ClassVar[str]
    certainty: ClassVar[Certainty]
    name: str
    num_negatives: int | None = Field(None, ge=1, description="Negatives a query; by default the run's.")
    duplicates: bool = Field(True, description="Drop exact, normalised and near copies of a positive, and the query itself.")
    containment: float = Field(0.9, gt=0, le=1, description="Shingle containment from which a document is a near copy of a positive.")

    def compose(self, facts: Facts) -> Recipe:
        """The recipe for a round.

        Args:
            facts: what the recipe may depend on; ``facts.num_negatives`` is already this recipe's own.
        """
        raise NotImplementedError(type(self))

    def copies(self) -> tuple[AnyRule, ...]:
        """The rules against copies, or none if ``duplicates`` is off."""
        return (Duplicate(), NearDuplicate(containment=self.containment)) if self.duplicates else ()
