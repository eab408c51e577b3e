"""How false negatives are measured."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tasks.models.train_settings import TrainSettings
from tasks.settings import Settings


class SamplingSettings(Settings):
    """How a review sample is spread over what the recipes emitted."""

    budget: int = Field(300, ge=10, description="Pairs to review.")
    score_bins: int = Field(5, ge=1, le=50, description="Bins of the teacher's score, of equal numbers of pairs.")
    rank_edges: tuple[int, ...] = Field(
        (10, 50), description="Last ranks of the rank bins; what lies beyond, or has no rank, is the last bin."
    )
    min_draws: int = Field(4, ge=2, description="Least pairs drawn from a stratum; smaller strata are merged.")
    floor: float = Field(0.03, gt=0, le=0.25, description="Least variance of a label that is assumed, however sure the teacher is.")


class ReviewSettings(Settings):
    """How labels of a review sample become rates."""

    calibration: Literal["platt", "isotonic"] = Field("platt", description="Fitted on the review, out of fold by query.")
    folds: int = Field(5, ge=2, le=50, description="Folds of the calibration.")
    calibrate_from: int = Field(30, ge=2, description="Sure answers from which the teacher is calibrated on the review.")
    prior_weight: float = Field(
        4.0, ge=0, description="The variance that the calibrated scores predict weighs as much as so many leaks seen."
    )


class CalibrationSettings(Settings):
    """When a teacher's scores may be read as probabilities."""

    kind: Literal["auto", "platt", "isotonic"] = Field("auto", description="auto: isotonic from `isotonic_from` positives, else Platt.")
    isotonic_from: int = Field(300, ge=2, description="Positives from which auto means isotonic.")
    min_positives: int = Field(10, ge=1, description="With fewer labelled pairs there is no calibration.")
    max_pairs: int = Field(200_000, ge=100, description="Unlabelled candidates to fit on at most, drawn by hash.")
    folds: int = Field(5, ge=2, le=50, description="Folds of query groups; no label judges the calibration that it made.")
    auc_floor: float = Field(0.7, ge=0.5, le=1, description="Under this AUC the teacher cannot tell relevant from not.")
    bins: int = Field(10, ge=1, le=100, description="Bins of the reliability table.")


class SurvivalSettings(Settings):
    """How planted positives are grouped."""

    rank_edges: tuple[int, ...] = Field((2, 5, 10, 20, 50, 100), description="Last ranks of the rank bins.")
    score_edges: tuple[float, ...] = Field((0.2, 0.5, 0.8), description="Upper ends of the teacher's score bins.")
    min_planted: int = Field(10, ge=1, description="Strata with fewer planted pairs are merged with their neighbour.")


class TruthSettings(Settings):
    """How false negatives are measured. But for the calibration, which is a score of its own, none of it changes a selection or a file."""

    qrels: str = Field(
        "",
        description="File of judgements, as of TREC or BEIR, that measure and do nothing else: nothing mines, trains or calibrates with "
        "them; what they say of what is not listed is `judged`. None: what `dataset.judged` says.",
    )
    judged: Literal["exhaustive", "trusted_zeros", "both"] = Field(
        "both",
        description="What `qrels` say, of the queries that they judge: exhaustive: a document that is not listed is not relevant; "
        "trusted_zeros: one that is listed with grade 0 is not; both. What they do not say is unknown, and bounds the rate.",
    )
    queries: str = Field("", description="File with the ids of the queries that `qrels` judges, one a line; none: those that it names.")
    level: float = Field(0.95, gt=0, lt=1, description="Confidence of the intervals.")
    batch_sizes: tuple[Annotated[int, Field(ge=2)], ...] = Field(
        (), description="Rows a batch, for the in-batch rate; none: as `train` has it."
    )
    batch_rows: int = Field(
        20_000, ge=2, description="Rows, in whole batches, from which the in-batch rate is estimated at most; judgements count on all."
    )
    suspects: int = Field(200, ge=0, description="Negatives of a selection to list as most likely to be relevant (table `suspected`).")
    calibration: CalibrationSettings = Field(
        CalibrationSettings(), description="The teacher's scores as probabilities: teacher_calibrated, which recipes may go by."
    )
    review: ReviewSettings = Field(ReviewSettings(), description="Reviewed samples.")
    survival: SurvivalSettings = Field(SurvivalSettings(), description="Planted positives.")

    @model_validator(mode="after")
    def _queries_of_qrels(self) -> Self:
        if self.queries and not self.qrels:
            raise ValueError("queries: names what `qrels` judges; give qrels too")
        return self

    def resolved(self, base: Path) -> TruthSettings:
        """The same with relative paths taken from ``base``."""
        files = {name: getattr(self, name) for name in ("qrels", "queries")}
        return self.model_copy(update={name: str(base / Path(file).expanduser()) for name, file in files.items() if file})


class EstimateSettings(Settings):
    """How one selection is measured."""

    judged: Literal["none", "exhaustive", "trusted_zeros", "both"] = Field(
        "none",
        description="What the judgements say: exhaustive: what is not listed is not relevant; trusted_zeros: what is listed with grade 0 "
        "is not. A zero that is not trusted is unknown.",
    )
    min_grade: int = Field(1, description="The relevance from which a document is relevant.")
    num_negatives: int = Field(5, ge=0, description="Negatives that a training row should have.")
    stage_negatives: dict[str, int] = Field(default_factory=dict, description="The same for single training stages, where it differs.")
    suspect_reasons: tuple[str, ...] = Field((), description="Reasons of rejections that mean: probably relevant.")
    suspects: int = Field(TruthSettings.model_fields["suspects"].default, ge=0, description="See :class:`TruthSettings`.")
    split: str = Field("", description="A split that training files hold besides train: `dataset.split` names it.")
    bins: int = Field(40, ge=1, le=1000, description="Bins of the histograms.")
    batch_sizes: tuple[int, ...] = Field(
        (TrainSettings.model_fields["batch_size"].default,), description="Rows a batch, for the in-batch rate; each 2 or more."
    )
    batch_seed: int = Field(TrainSettings.model_fields["seed"].default, ge=0, description="Of the rows' order, as the training's.")
    batch_rows: int = Field(TruthSettings.model_fields["batch_rows"].default, ge=2, description="See :class:`TruthSettings`.")
    stages: tuple[str, ...] = Field((), description="Training stages in order; none: as they come.")
    depth: int = Field(0, ge=0, description="Worst rank that the teacher scored; 0: whatever was retrieved.")
    partial: bool = Field(False, description="A lazy teacher scored a part of the candidates: its scores say nothing of the others.")
    level: float = Field(0.95, gt=0, lt=1, description="Confidence of the intervals.")
    calibration: CalibrationSettings = Field(CalibrationSettings(), description="The teacher's scores as probabilities.")
    review: ReviewSettings = Field(ReviewSettings(), description="Reviewed samples.")
    survival: SurvivalSettings = Field(SurvivalSettings(), description="Planted positives.")
