"""Draws: how negatives are taken from the survivors. They run in order; a later one fills what earlier ones left."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.settings import Settings
from tasks.sql import quote_identifier, quote_literal


class Top(Settings):
    """The highest scores first."""

    kind: Literal["top"] = "top"
    by: str = Field("dense_score", pattern=r"^[a-z][a-z0-9_]*$", description="Score column, highest first.")

    def sql(self, uniform: str) -> str:
        """SQL after ORDER BY."""
        return f"{quote_identifier(self.by)} DESC NULLS LAST"


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


class Draw(Settings):
    """One draw from the candidates that no rule rejected.

    ``take`` counts negatives a query; without it the draw fills up to ``num_negatives``. ``survivor_min`` and ``survivor_max``
    cut ``[survivor_min:survivor_max]`` among the survivors in the order of the recipe's ``rank_by``.
    ``waive`` names reasons that do not count for this draw (RocketQA's backfill takes documents that the teacher has not seen).
    """

    name: str = Field("draw", pattern=r"^[a-z][a-z0-9_-]*$")
    order: Annotated[Top | Random | Weighted, Field(discriminator="kind")] = Top()
    take: int | None = Field(None, ge=1, description="Negatives a query; none: up to num_negatives.")
    pool: str | None = Field(None, description="SQL predicate over the scored table's columns.")
    survivor_min: int = Field(0, ge=0)
    survivor_max: int | None = Field(None, ge=1)
    waive: tuple[str, ...] = ()
    stage: str = Field("main", pattern=r"^[a-z][a-z0-9_-]*$", description="Training stage that the draw belongs to.")
    label: float = 0.0
    weight: float = 1.0

    def eligible(self) -> str:
        """SQL: true where this draw may take a candidate that is not drawn yet."""
        if self.waive:
            waived = ", ".join(quote_literal(reason) for reason in self.waive)
            clauses = [f"len(list_filter(reasons, lambda r: r NOT IN ({waived}))) = 0"]
        else:
            clauses = ["len(reasons) = 0"]
        if self.pool:
            clauses.append(f"coalesce(({self.pool}), false)")
        if isinstance(self.order, Weighted):
            clauses.append(f"({self.order.log_weight}) IS NOT NULL")
        if self.survivor_min:
            clauses.append(f"survivor_rank > {self.survivor_min}")
        if self.survivor_max is not None:
            clauses.append(f"survivor_rank <= {self.survivor_max}")
        return " AND ".join(clauses)
