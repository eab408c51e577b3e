"""What a report shows. Every section may be missing: the report then says so in one sentence."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, model_validator

from tasks.compare.curves import Curve, CurvePoint
from tasks.compare.results import RecipeOutcome
from tasks.compare.yields import YieldCurve
from tasks.report.examples import Example, Hub
from tasks.settings import Settings
from tasks.staleness.plot import StalenessCurve

Section = Literal[
    "funnel",
    "scores",
    "recipes",
    "false_negatives",
    "calibration",
    "yields",
    "slices",
    "hardest",
    "suspicious",
    "zeros",
    "hubs",
    "cost",
    "staleness",
    "settings",
]
FEW_QUERIES = 30  # a slice with fewer is marked


class Facts(Settings):
    """What the report is about."""

    dataset: str
    round: int = Field(ge=0)
    created: str = Field("", description="When the round was published; ISO 8601 is shown as a date.")
    documents: int | None = Field(None, ge=0)
    queries: int | None = Field(None, ge=0)
    model: str = Field("", description="The retriever.")
    teacher: str = ""
    recipe: str = Field("", description="The selection that the report is about.")
    baseline: str = Field("", description="The recipe that its figures stand beside, as 'top'.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Of the round, shown as YAML in this order.")


class Value(Settings):
    """A number with its interval."""

    value: float | None = Field(description="None: not known.")
    low: float | None = None
    high: float | None = None
    share: bool = Field(True, description="Shown in percent.")


class Rejection(Settings):
    """Candidates that one rule rejected first."""

    reason: str
    count: int = Field(ge=0)
    meaning: str = ""


class Funnel(Settings):
    """What became of all candidates of one recipe; each is counted once."""

    recipe: str
    candidates: int = Field(ge=0)
    positives: int = Field(0, ge=0, description="Labelled, so no candidates for negatives.")
    rejected: tuple[Rejection, ...] = Field((), description="By first reason.")
    unscored: int = Field(0, ge=0)
    not_drawn: int = Field(0, ge=0)
    pseudo_positives: int = Field(0, ge=0)
    negatives: int = Field(ge=0)

    @property
    def unaccounted(self) -> int:
        """Candidates that no part counts."""
        parts = (self.positives, self.unscored, self.not_drawn, self.pseudo_positives, self.negatives)
        return self.candidates - sum(parts) - sum(one.count for one in self.rejected)

    @model_validator(mode="after")
    def _adds_up(self) -> Funnel:
        if self.unaccounted < 0:
            raise ValueError(
                f"the parts of {self.recipe}'s candidates are {-self.unaccounted:,} more than its {self.candidates:,} candidates"
            )
        return self


class Histogram(Settings):
    """One score over groups of pairs."""

    score: str = Field(description="The column, as dense_score.")
    words: str = Field("", description="What the axis says; by default the column.")
    edges: tuple[float, ...] = Field(min_length=2, description="Of the bins, ascending.")
    counts: dict[str, tuple[int, ...]] = Field(description="By group, one a bin. Known groups: positives, negatives, suspects, rejected.")
    marks: dict[str, float] = Field(default_factory=dict, description="Thresholds to show, by name.")
    note: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Histogram:
        if any(first >= second for first, second in pairwise(self.edges)):
            raise ValueError(f"the edges of {self.score} do not ascend")
        for name, counts in self.counts.items():
            if len(counts) != len(self.edges) - 1:
                raise ValueError(f"{self.score}: {len(self.edges) - 1} bins but {len(counts)} counts of {name}")
        return self


class Comparison(Settings):
    """Recipes over the same candidates."""

    outcomes: tuple[RecipeOutcome, ...] = ()
    curves: tuple[Curve, ...] = ()
    points: dict[str, CurvePoint] = Field(default_factory=dict, description="Recipes without a curve.")
    left_out: dict[str, str] = Field(default_factory=dict, description="Why, by recipe.")
    served: float = Field(0.95, ge=0, le=1, description="Yield under which a recipe is drawn faint.")
    note: str = ""


class Estimate(Settings):
    """One estimator's word on one recipe."""

    recipe: str
    estimator: str
    words: str = Field("", description="What its rate is, in words, as the terminal has it.")
    quantity: Literal["false_negatives", "survival", "in_batch"] = Field(
        "false_negatives",
        description="Share of negatives that are relevant; P(emitted | relevant and retrieved), which is no rate of negatives; or what a "
        "batch adds: share of other rows' positives that are relevant, or of rows with at least one.",
    )
    rate: float | None = Field(None, ge=0)
    low: float | None = Field(None, ge=0)
    high: float | None = Field(None, ge=0)
    note: str = ""


class ReliabilityBin(Settings):
    """Pairs of about one predicted probability."""

    predicted: float = Field(ge=0, le=1, description="Mean prediction.")
    observed: float = Field(ge=0, le=1, description="Share that is relevant.")
    pairs: int = Field(ge=0)
    low: float | None = None
    high: float | None = None


class Reviewed(Settings):
    """Relevant negatives of one recipe: expected by the teacher, found by review."""

    recipe: str
    calibration: str = Field("", description="What the teacher's probabilities were fitted on.")
    expected: float = Field(ge=0)
    reviewed: float = Field(ge=0)
    low: float | None = None
    high: float | None = None
    pairs: int | None = Field(None, ge=0)


class Calibration(Settings):
    """How far the teacher's probabilities can be believed."""

    bins: tuple[ReliabilityBin, ...] = ()
    brier: float | None = None
    auc: float | None = None
    method: str = Field("", description="isotonic, Platt …")
    source: str = Field("", description="What it was fitted on, and whether it holds for counts.")
    warning: str = ""
    reviewed: tuple[Reviewed, ...] = ()


class YieldRow(Settings):
    """How many queries got all their negatives."""

    recipe: str
    stage: str = ""
    queries: int = Field(ge=0)
    served: int = Field(ge=0)
    negatives_per_query: float | None = None


class Yields(Settings):
    """Yield of each recipe, and of thresholds."""

    rows: tuple[YieldRow, ...] = ()
    curves: tuple[YieldCurve, ...] = ()
    chosen: dict[str, float] = Field(default_factory=dict, description="By column, the threshold that is advised.")
    note: str = ""


class Slice(Settings):
    """Some queries."""

    by: str = Field(description="As language.")
    name: str = Field(description="As en.")
    queries: int = Field(ge=0)
    values: dict[str, Value] = Field(description="By the column's heading.")

    @property
    def small(self) -> bool:
        """Whether it is too small to lean on."""
        return self.queries < FEW_QUERIES


class Cost(Settings):
    """What one stage cost this round."""

    stage: str
    seconds: float = Field(0.0, ge=0)
    model_calls: int = Field(0, ge=0)
    cache_hits: int = Field(0, ge=0)
    bytes: int = Field(0, ge=0)
    reused: bool = Field(False, description="An earlier round had done it.")


class Planned(Settings):
    """What one stage was to take and took, in the run that made the round."""

    stage: str
    planned_seconds: float | None = Field(description="None: it was not planned.")
    seconds: float = Field(ge=0)
    planned_calls: int | None = None
    model_calls: int = Field(0, ge=0)
    planned_bytes: int | None = None
    bytes: int = Field(0, ge=0)


class Staleness(Settings):
    """How far the round's negatives are behind a newer model."""

    statement: str
    values: dict[str, Value] = Field(default_factory=dict)
    curves: tuple[StalenessCurve, ...] = Field((), description="Loss share of each round's negatives, by trainings since.")


class ReportData(Settings):
    """All that the report of a round shows."""

    facts: Facts
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    funnels: tuple[Funnel, ...] = Field((), description="The report's own recipe first.")
    scores: tuple[Histogram, ...] = ()
    comparison: Comparison | None = None
    false_negatives: tuple[Estimate, ...] = ()
    calibration: Calibration | None = None
    yields: Yields | None = None
    slices: tuple[Slice, ...] = ()
    hardest: tuple[Example, ...] = ()
    suspicious: tuple[Example, ...] = ()
    zeros: tuple[Example, ...] = Field((), description="Documents that are labelled as not relevant and look relevant: the first few.")
    zero_count: int = Field(0, ge=0, description="How many there are.")
    hubs: tuple[Hub, ...] = Field((), description="Documents that are negatives most often.")
    cost: tuple[Cost, ...] = ()
    planned: tuple[Planned, ...] = Field((), description="Of the run that made the round, where there was a plan; all stages last.")
    staleness: Staleness | None = None
    absent: dict[Section, str] = Field(default_factory=dict, description="Why a section is missing, in place of the usual sentence.")
