"""Rules over what documents belong to: clusters of vectors, parent documents."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.select.rules.base import OnNull, Rule


class OtherCluster(Rule):
    """Keeps only candidates outside the clusters of the query's positives: what lies in them is likely relevant."""

    kind: Literal["other_cluster"] = "other_cluster"
    on_null: OnNull

    def columns(self) -> list[str]:
        """Whether the document's cluster is a positive's."""
        return ["in_positive_cluster"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return "in_positive_cluster"


class SameGroup(Rule):
    """Drops, or keeps alone, candidates that share a parent document with a positive."""

    kind: Literal["same_group"] = "same_group"
    action: Literal["drop", "keep"] = Field("drop", description="keep: only passages of a positive's document survive.")
    on_null: OnNull

    @property
    def name(self) -> str:
        """The reason: ``same_group`` for a candidate that is dropped, ``other_group`` where only those are kept."""
        return self.reason or ("same_group" if self.action == "drop" else "other_group")

    def columns(self) -> list[str]:
        """Whether the document's parent is a positive's."""
        return ["in_positive_group"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return "in_positive_group" if self.action == "drop" else "NOT in_positive_group"
