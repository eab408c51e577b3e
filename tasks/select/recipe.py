"""A recipe, composed: what it needs from a round, its rules, its draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, model_validator

from tasks.select.columns import features_of, mentioned
from tasks.select.draws import Draw
from tasks.select.limits import Limits
from tasks.select.rules.registry import AnyRule
from tasks.select.stopping import why_all
from tasks.settings import Settings


@dataclass(frozen=True)
class Facts:
    """What a recipe may depend on besides its own settings."""

    num_negatives: int
    max_positives: int  # the most labelled positives that a query has
    documents: int = 0
    queries: int = 0
    chunked: bool = False  # documents are chunks of longer ones


class Needs(Settings):
    """How deep a round must be for a recipe, and which features it compares."""

    sources: dict[str, int] = Field(default_factory=lambda: {"dense": 100}, description="Depth by source.")
    teacher_depth: int = Field(0, ge=0, description="Ranks that must have a teacher score; 0: no teacher is needed.")
    features: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Feature stages whose columns the rules and draws name, each with its settings."
    )


class PseudoPositives(Settings):
    """Unlabelled candidates that a score calls relevant become positives of their own."""

    score: str = Field("teacher_sigmoid", pattern=r"^[a-z][a-z0-9_]*$")
    above: float = 0.9
    take: int = Field(1, ge=1, description="At most so many a query, best first.")


class RowOrder(Settings):
    """In which order training rows are written."""

    kind: Literal["hashed", "clustered"] = Field(
        "hashed", description="clustered: batches of queries of one k-means cluster (TAS-Balanced); needs the feature `clusters`."
    )
    batch_size: int = Field(32, ge=1, description="Rows of a clustered batch.")


class Recipe(Settings):
    """How negatives are chosen from scored candidates."""

    name: str = Field("custom", pattern=r"^[a-z0-9][a-z0-9_-]*$")
    needs: Needs = Needs()
    rules: tuple[AnyRule, ...] = ()
    draws: tuple[Draw, ...] = (Draw(),)
    rank_by: str = Field("dense_score", pattern=r"^[a-z][a-z0-9_]*$", description="Score that ranks survivors and orders slots.")
    num_negatives: int = Field(5, ge=0, description="Negatives a query.")
    pseudo_positives: PseudoPositives | None = None
    limits: Limits = Limits()
    row_order: RowOrder = RowOrder()

    @model_validator(mode="after")
    def _features_are_asked_for(self) -> Recipe:
        """Features whose columns are named somewhere in the recipe are needed, with their default settings if none are given."""
        found: dict[str, dict[str, Any]] = {name: {} for name in features_of(self.words) if name not in self.needs.features}
        if found:
            needs = self.needs.model_copy(update={"features": {**self.needs.features, **found}})
            object.__setattr__(self, "needs", needs)  # the model is frozen, and not yet seen by anyone
        return self

    @model_validator(mode="after")
    def _names_are_unique(self) -> Recipe:
        names = [rule.name for rule in self.rules]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two rules give the reason {twice[0]!r}: set `reason` on one of them")
        if self.pseudo_positives is not None and self.per_positive:
            raise ValueError("pseudo_positives and a rule with positive: own do not go together: use min, mean or max")
        draws = [(draw.stage, draw.name) for draw in self.draws]
        if len(set(draws)) < len(draws):
            raise ValueError("two draws of a stage have the same name: set `name` on one of them")
        return self

    @property
    def per_positive(self) -> bool:
        """Whether candidates are judged for each positive apart (some rule compares with the row's own)."""
        return any(getattr(rule, "positive", "min") == "own" for rule in self.rules)

    @property
    def stages(self) -> list[str]:
        """Training stages, in the order of the draws."""
        return list(dict.fromkeys(draw.stage for draw in self.draws)) or ["main"]

    @property
    def words(self) -> set[str]:
        """Words of the recipe's SQL: every column that it compares is among them."""
        texts = [self.rank_by, *(rule.sql() for rule in self.rules), *self.limits.columns()]
        for draw in self.draws:
            texts += [draw.order.sql("u"), draw.pool or "", draw.weight_by or ""]
        texts += [self.pseudo_positives.score] if self.pseudo_positives is not None else []
        texts += ["query_cluster"] if self.row_order.kind == "clustered" else []
        return mentioned(texts)

    @property
    def needs_all_scores(self) -> str:
        """Why the teacher must score every candidate (``teacher.lazy`` is refused); empty: see :mod:`tasks.select.stopping`."""
        return why_all(self)

    @property
    def refuses_copies(self) -> bool:
        """Whether exact and normalised copies of a positive and of the query are dropped."""
        return any(rule.kind == "duplicate" and rule.match == "normalised" and len(rule.of) == 2 for rule in self.rules)
