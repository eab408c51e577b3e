"""What comparing gives: frozen records that go to the terminal, to JSON and into plots."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Result(BaseModel):
    """Base of all results."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Spread(Result):
    """Mean and spread of a column over the pairs that have a value."""

    mean: float
    std: float = Field(description="Of the population (not divided by n − 1).")
    pairs: int = Field(description="How many have a value.")


class Rate(Result):
    """A share of negatives, or of their weight, with its interval over queries."""

    value: float
    low: float
    high: float
    pairs: int = Field(description="Negatives that it is a share of.")
    queries: int = Field(description="Queries that have one; where a threshold is tried, groups of them.")


class DrawLeak(Result):
    """What one draw let through."""

    negatives: int
    leaked: int


class Leak(Result):
    """Negatives that the truth calls relevant, as a share of all negatives of the judged queries."""

    total: Rate
    chosen: Rate | None = Field(description="Among negatives of the recipe's own draws.")
    backfill: Rate | None = Field(description="Among negatives that only a backfill drew.")
    weighted: Rate | None = Field(description="By training weight: Σ w·FN / Σ w.")
    gradient: Rate | None = Field(description="By softmax mass: Σ p·FN / Σ p.")
    by_draw: dict[str, DrawLeak]


class Measures(Result):
    """A recipe over a set of queries. Pairs are distinct (query, document), over stages and positives."""

    queries: int = Field(description="With a labelled or pseudo-positive, so with training rows.")
    rows: int = Field(description="Training rows, over stages: a query and one of its positives.")
    served: float = Field(description="Share of queries all of whose rows have all their negatives.")
    partly_served: float = Field(description="Share of queries that have some of them.")
    negatives: int
    negatives_per_query: float
    drawn_as_relevant: int = Field(description="Drawn with a label that trains them as relevant; not among the negatives.")
    backfill: float | None = Field(description="Share of the negatives that only a backfill drew.")
    similarity: Spread | None = Field(description="dense_score: hardness under the selecting model.")
    fixed_similarity: Spread | None = Field(description="fixed_score: hardness under a second encoder.")
    teacher_logit: Spread | None
    teacher_sigmoid: Spread | None = Field(description="The teacher's own word, not a rate.")
    rank: Spread | None = Field(description="dense_rank.")
    estimated: Rate | None = Field(
        description="Mean probability by the teacher, fitted on labels, which are incomplete: no count of false negatives."
    )
    weighted_estimated: Rate | None = Field(description="The same by training weight.")


class Metrics(Measures):
    """A recipe over a round: all queries, and the judged ones where there is a truth."""

    judged: Measures | None = None
    leak: Leak | None = None

    @property
    def compared(self) -> Measures:
        """What stands beside a leak: the judged queries' measures, or all queries' without a truth."""
        return self.judged or self


class Overlap(Result):
    """How far a recipe's negatives are another's."""

    jaccard: float = Field(description="Mean over queries of |A ∩ B| / |A ∪ B|; queries where both are empty do not count.")
    share: float = Field(description="Share of A's negatives that B has too.")


class RecipeOutcome(Result):
    """One recipe's line in a comparison."""

    recipe: str
    settings: dict[str, Any] = Field(default_factory=dict, description="What was set besides the defaults.")
    seconds: float = 0.0
    metrics: Metrics
    overlap: dict[str, Overlap] = Field(default_factory=dict, description="By the other recipe.")
