"""The free rule: any SQL predicate."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.rules.base import OnNull, Rule


class Where(Rule):
    """A free rule: keeps the candidates for which an SQL predicate over the scored table's columns is true."""

    kind: Literal["where"] = "where"
    predicate: str = Field(min_length=1, description="SQL over the scored table's columns, as in dense_score < 0.8.")
    on_null: OnNull

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        kept = "true" if self.on_null == "keep" else "false"
        return f"NOT coalesce(({self.predicate}), {kept})"
