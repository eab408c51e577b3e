"""Constraints that every recipe can take, whatever its rules and draws are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.settings import Settings
from tasks.sql import quote_literal

# Reasons that limits give. No draw may waive them.
FINAL = (
    "hub_limit",
    "min_tokens",
    "max_tokens",
    "language",
    "language_unknown",
    "copy_of_pseudo_positive",
    "same_text",
    "duplicate_cluster_limit",
    "group_limit",
)


class Diversity(Settings):
    """Maximal marginal relevance (Carbonell and Goldstein 1998) over what a draw would take next.

    Of the first ``pool`` candidates in the draw's own order (place 0, 1, …), the next is the one with the largest
    trade_off · (1 − place / pool) − (1 − trade_off) · (largest similarity with those already taken), by the retriever's vectors.
    Negatives of the stage's earlier draws count as taken; while nothing is, the second term is 0. Equal values: the earlier place.
    A draw that takes more than ``pool`` looks at so many.
    """

    trade_off: float = Field(0.7, ge=0, le=1, description="1: the draw's own order; 0: only as unlike each other as can be.")
    pool: int = Field(50, ge=2, le=1000, description="So many of the draw's first candidates take part.")


class Limits(Settings):
    """Constraints on what is drawn. Each gives a reason of its own in decisions."""

    queries_per_document: int | None = Field(
        None,
        ge=1,
        description="A document is a negative for at most so many queries that train (hubs); the summary names the 20 most wanted.",
    )
    per_duplicate_cluster: int | None = Field(None, ge=1, description="Negatives of a query from one cluster of near copies, at most.")
    per_group: int | None = Field(None, ge=1, description="Negatives of a query with one parent document, at most.")
    rows_per_positive: int | None = Field(
        None, ge=1, description="Training rows with one and the same positive, at most; rows of other splits neither count nor are limited."
    )
    min_tokens: int | None = Field(None, ge=1, description="Shorter documents are no negatives.")
    max_tokens: int | None = Field(None, ge=1, description="Longer documents are no negatives.")
    languages: Literal["any", "same", "cross"] | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        "any",
        description="Negatives' language: any, the query's own (same), another one (cross), or some codes; then none of unknown.",
    )
    diversity: Diversity | None = Field(None, description="Negatives unlike each other (MMR).")

    def columns(self) -> list[str]:
        """Columns that these limits compare."""
        named = {
            "doc_tokens": self.min_tokens is not None or self.max_tokens is not None,
            "doc_language": self.languages != "any",
            "query_language": self.languages in ("same", "cross"),
            "duplicate_cluster": self.per_duplicate_cluster is not None,
            "group_id": self.per_group is not None,
        }
        return [name for name, compared in named.items() if compared]

    def sql(self) -> list[str]:
        """SQL of the row-wise limits: a reason each, or NULL."""
        cases = []
        if self.min_tokens is not None:
            cases.append(f"CASE WHEN doc_tokens < {self.min_tokens} THEN 'min_tokens' END")
        if self.max_tokens is not None:
            cases.append(f"CASE WHEN doc_tokens > {self.max_tokens} THEN 'max_tokens' END")
        if self.languages != "any":
            cases.append(f"CASE WHEN {self._unknown()} THEN 'language_unknown' WHEN NOT ({self._spoken()}) THEN 'language' END")
        return cases

    @property
    def are_global(self) -> bool:
        """Whether some limit must be decided over all queries together."""
        return self.queries_per_document is not None or self.rows_per_positive is not None

    def _unknown(self) -> str:
        return "doc_language IS NULL" + (" OR query_language IS NULL" if self.languages in ("same", "cross") else "")

    def _spoken(self) -> str:
        if isinstance(self.languages, str):
            return f"doc_language {'=' if self.languages == 'same' else '<>'} query_language"
        return f"doc_language IN ({', '.join(quote_literal(code) for code in self.languages)})"
