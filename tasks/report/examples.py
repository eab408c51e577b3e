"""Texts in a report: examples of negatives, and documents that are used often."""

from __future__ import annotations

from pydantic import Field

from tasks.settings import Settings


class Passage(Settings):
    """A document, and its scores for one query."""

    doc_id: str
    title: str = ""
    text: str = ""
    scores: dict[str, float | None] = Field(default_factory=dict, description="By name, as dense, teacher.")


class Example(Settings):
    """One candidate of a query, beside the query's positives."""

    query_id: str
    query: str
    positives: tuple[Passage, ...] = ()
    negative: Passage
    decision: str = Field("negative", description="negative, rejected, not_drawn …")
    reasons: tuple[str, ...] = ()
    note: str = ""


class Hub(Settings):
    """A document that is a negative of many queries."""

    doc_id: str
    uses: int = Field(ge=0, description="Training rows with it as a negative.")
    queries: int | None = Field(None, ge=0)
    title: str = ""
    text: str = ""
