"""Rules against copies of a positive or of the query."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.rules.base import OnNull, Rule, number
from tasks.sql import quote_literal


class Duplicate(Rule):
    """Drops exact or normalised copies (NFKC, case, white space) of a positive or of the query itself."""

    kind: Literal["duplicate"] = "duplicate"
    match: Literal["exact", "normalised"] = "normalised"
    of: tuple[Literal["positive", "query"], ...] = ("positive", "query")

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        columns = ["copy_of"] if self.match == "exact" else ["copy_of", "norm_copy_of"]
        wanted = ", ".join(quote_literal(name) for name in self.of)
        return "(" + " OR ".join(f"coalesce({column} IN ({wanted}), false)" for column in columns) + ")"


class NearDuplicate(Rule):
    """Drops near-copies of a positive: estimated containment of word shingles at or over a threshold.

    Containment is measured on texts, not vectors: a trained encoder's cosine drifts from round to round and would
    drop the minimal-edit negatives that teach most.
    """

    kind: Literal["near_duplicate"] = "near_duplicate"
    containment: float = Field(0.9, gt=0, le=1)
    on_null: OnNull = "keep"

    def columns(self) -> list[str]:
        """The containment feature."""
        return ["positive_containment"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"positive_containment >= {number(self.containment)}"


class NearDuplicateCosine(Rule):
    """Drops documents whose cosine with a positive, under a fixed encoder, reaches a threshold."""

    kind: Literal["near_duplicate_cosine"] = "near_duplicate_cosine"
    cosine: float = Field(0.95, gt=-1, le=1)
    on_null: OnNull

    def columns(self) -> list[str]:
        """The similarity feature."""
        return ["positive_similarity"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return f"positive_similarity >= {number(self.cosine)}"
