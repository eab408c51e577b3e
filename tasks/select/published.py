"""Named recipes: settings of a published method, and how they compose into rules and draws."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from tasks.select.limits import Limits
from tasks.select.recipe import Facts, Needs, Recipe
from tasks.select.rules.copies import Duplicate, NearDuplicate
from tasks.select.rules.ranks import RankRange
from tasks.select.rules.registry import AnyRule
from tasks.settings import Settings

Certainty = Literal["code", "code, in part", "paper", "paper, in part", "third party", "own"]
Sweep = tuple[str, tuple[Any, ...]]


class Published(Settings):
    """Base of all named recipes. A subclass' docstring's first line is its summary in lists.

    ``sweep`` names the setting that trades leak against hardness, with values from strict to lax; none: there is no such setting.
    """

    paper: ClassVar[str]
    certainty: ClassVar[Certainty]
    sweep: ClassVar[Sweep | None] = None
    name: str
    num_negatives: int | None = Field(None, ge=1, description="Negatives a query; by default the run's.")
    duplicates: bool = Field(True, description="Drop exact, normalised and near copies of a positive, and the query itself.")
    containment: float = Field(0.9, gt=0, le=1, description="Shingle containment from which a document is a near copy of a positive.")
    limits: Limits = Field(Limits(), description="Constraints on what is drawn.")

    def compose(self, facts: Facts) -> Recipe:
        """The recipe for a round, without ``limits``: :func:`tasks.select.registry.compose_recipe` adds them.

        Args:
            facts: what the recipe may depend on; ``facts.num_negatives`` is already this recipe's own.
        """
        raise NotImplementedError(type(self))

    def copies(self) -> tuple[AnyRule, ...]:
        """The rules against copies, or none if ``duplicates`` is off."""
        return (Duplicate(), NearDuplicate(containment=self.containment)) if self.duplicates else ()

    def ranked(self, depth: int, source: str = "dense") -> tuple[AnyRule, ...]:
        """The rules against copies, and one that keeps the first ``depth`` ranks of a source."""
        return (*self.copies(), RankRange(source=source, range_max=depth, on_null="reject"))


def source_of(score: str) -> str:
    """The source whose ranks go with a score column: its own, or dense for a teacher's and the fixed encoder's.

    >>> source_of("bm25_score"), source_of("splade_score"), source_of("teacher_logit"), source_of("fixed_score")
    ('bm25', 'splade', 'dense', 'dense')
    """
    source = score.removesuffix("_score")
    return source if source not in (score, "fixed") else "dense"


def needed(depth: int, score: str = "dense_score", **features: dict[str, Any]) -> Needs:
    """What a recipe needs that ranks by a score to some depth.

    Args:
        depth: ranks of the score's source, and of the teacher if the score is a teacher's.
        score: the score column.
        features: feature stages with settings; an underscore stands for a dash.
    """
    return Needs(
        sources={source_of(score): depth},
        teacher_depth=depth if score.startswith("teacher_") else 0,
        features={name.replace("_", "-"): settings for name, settings in features.items()},
    )
