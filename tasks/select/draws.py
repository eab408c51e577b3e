"""Draws: how negatives are taken from the survivors. They run in order; a later one fills what earlier ones left."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field

from tasks.select.limits import FINAL
from tasks.settings import Settings
from tasks.sql import quote_identifier


class Top(Settings):
    """The highest scores first."""

    kind: Literal["top"] = "top"
    by: str = Field("dense_score", pattern=r"^[a-z][a-z0-9_]*$", description="Score column, highest first.")

    def sql(self, uniform: str) -> str:
        """SQL after ORDER BY."""
        return f"{quote_identifier(self.by)} DESC NULLS LAST"


class Least(Settings):
    """The lowest values of an SQL expression first; NULL last."""

    kind: Literal["least"] = "least"
    by: str = Field(min_length=1, description="SQL over the scored table's columns.")

    def sql(self, uniform: str) -> str:
        """SQL after ORDER BY."""
        return f"({self.by}) ASC NULLS LAST"


class Random(Settings):
    """Uniformly at random, decided by hash."""

    kind: Literal["random"] = "random"

    def sql(self, uniform: str) -> str:
        """SQL after ORDER BY."""
        return uniform


class Weighted(Settings):
    """At random without replacement, with weights given as logarithms (exp(−a·x²) itself underflows to 0).

    Order by ``log w − ln(−ln u)`` descending (Efraimidis and Spirakis 2006, in Gumbel form).
    """

    kind: Literal["weighted"] = "weighted"
    log_weight: str = Field(min_length=1, description="SQL over the scored table's columns; NULL is never drawn.")

    def sql(self, uniform: str) -> str:
        """SQL after ORDER BY."""
        return f"(({self.log_weight}) - ln(-ln({uniform}))) DESC NULLS LAST"


class Binned(Settings):
    """A score's range cut into bins of equal width: a non-empty bin uniformly, then a candidate of it uniformly (TAS-Balanced).

    As weights: 1 / the number of candidates in one's own bin, drawn without replacement. The range is that of the query's candidates
    which the draw's reasons allow; where it is zero, there is one bin. A candidate without the score is never drawn.
    """

    kind: Literal["binned"] = "binned"
    score: str = Field("teacher_logit", pattern=r"^[a-z][a-z0-9_]*$", description="Score column.")
    bins: int = Field(10, ge=1, le=1000)

    def sql(self, uniform: str) -> str:
        """SQL after ORDER BY."""
        score = quote_identifier(self.score)
        bounded = f"""SELECT _place, _group, {score}::DOUBLE AS score, min({score}::DOUBLE) OVER (PARTITION BY _group) AS low,
        max({score}::DOUBLE) OVER (PARTITION BY _group) AS high FROM base WHERE _open AND {score} IS NOT NULL"""
        number = f"CASE WHEN high > low THEN least({self.bins - 1}, floor((score - low) / (high - low) * {self.bins})) ELSE 0 END"
        binned = f"SELECT _place, _group, {number} AS bin FROM ({bounded})"
        sized = f"SELECT _place AS own, count(*) OVER (PARTITION BY _group, bin) AS size FROM ({binned})"
        return f"(-ln((SELECT size FROM ({sized}) WHERE own = _place)) - ln(-ln({uniform}))) DESC NULLS LAST"


class Draw(Settings):
    """One draw from the candidates that no rule rejected.

    ``take`` counts negatives a query; without it the draw fills up to ``num_negatives``. ``survivor_min`` and ``survivor_max``
    cut ``[survivor_min:survivor_max]`` among the survivors in the order of the recipe's ``rank_by``.
    ``waive`` names reasons that do not count for this draw (RocketQA's backfill takes documents that the teacher has not seen).
    """

    name: str = Field("draw", pattern=r"^[a-z][a-z0-9_-]*$")
    order: Annotated[Top | Least | Random | Weighted | Binned, Field(discriminator="kind")] = Top()
    take: int | None = Field(None, ge=1, description="Negatives a query; none: up to num_negatives.")
    pool: str | None = Field(None, description="SQL predicate over the scored table's columns.")
    survivor_min: int = Field(0, ge=0)
    survivor_max: int | None = Field(None, ge=1)
    waive: tuple[str, ...] = ()
    stage: str = Field("main", pattern=r"^[a-z][a-z0-9_-]*$", description="Training stage that the draw belongs to.")
    label: float = 0.0
    weight: float = 1.0
    weight_by: str | None = Field(None, min_length=1, description="SQL of the training weight of a drawn negative; NULL: `weight`.")

    def allows(self, reasons: Collection[str]) -> bool:
        """Whether a candidate with these reasons may be taken. Those that limits give cannot be waived."""
        return all(reason in self.waive and reason not in FINAL for reason in reasons)

    def eligible(self) -> str:
        """SQL: true where this draw may take a candidate.

        ``_open``: not drawn yet, rejected for no reason but waived ones, and within the slice of survivors.
        """
        clauses = ["_open"]
        if self.pool:
            clauses.append(f"coalesce(({self.pool}), false)")
        if isinstance(self.order, Weighted):
            clauses.append(f"({self.order.log_weight}) IS NOT NULL")
        if isinstance(self.order, Binned):
            clauses.append(f"{quote_identifier(self.order.score)} IS NOT NULL")
        return " AND ".join(clauses)
