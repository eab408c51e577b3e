"""Rules over the ranks that sources gave."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.rules.base import OnNull, Rule, SourceName
from tasks.sql import quote_identifier


class RankRange(Rule):
    """Keeps ranks above ``range_min`` up to ``range_max`` of one source, as a slice ``[range_min:range_max]`` does."""

    kind: Literal["rank_range"] = "rank_range"
    source: SourceName = "dense"
    range_min: int = Field(0, ge=0, description="Skip so many of the best ranks.")
    range_max: int | None = Field(None, ge=1, description="The last rank that is kept.")
    on_null: OnNull

    def columns(self) -> list[str]:
        """The source's rank."""
        return [f"{self.source}_rank"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        rank = quote_identifier(f"{self.source}_rank")
        beyond = f" OR {rank} > {self.range_max}" if self.range_max is not None else ""
        return f"({rank} <= {self.range_min}{beyond})"


class RankSkip(Rule):
    """Drops the ``n`` best ranks of one source."""

    kind: Literal["rank_skip"] = "rank_skip"
    source: SourceName = "dense"
    n: int = Field(ge=1, description="How many of the best ranks to drop.")
    on_null: OnNull

    def columns(self) -> list[str]:
        """The source's rank."""
        return [f"{self.source}_rank"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"{quote_identifier(f'{self.source}_rank')} <= {self.n}"
