"""How mined negatives are judged: RLHN's cascade, and what becomes of what a judge calls relevant."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from tasks.remote.settings import BudgetSettings, ChatSettings
from tasks.settings import Settings


class JudgeSettings(Settings):
    """A cheap judge flags mined negatives, a strong one decides on those that are flagged.

    Source: RLHN, relabelling hard negatives (Thakur et al. 2025, arXiv:2505.16967) [paper]: the cascade and the three actions. There a
    judge sees all passages of a query at once; here a pair is a question of its own, so that its answer serves every recipe and round.
    """

    cheap: ChatSettings | None = Field(None, description="Sees every pair; none: the strong judge does.")
    strong: ChatSettings | None = Field(None, description="Sees what the cheap one flags, and decides; none: the cheap one decides.")
    flag: float = Field(0.3, ge=0, le=1, description="From which relevance by the cheap judge the strong one is asked.")
    threshold: float = Field(0.5, ge=0, le=1, description="From which relevance by the judge that decides a pair is no negative.")
    action: Literal["drop_negative", "drop_pair", "relabel"] = Field(
        "drop_negative",
        description="drop_negative: another candidate takes its place; drop_pair: the query gets no training row; "
        "relabel: it becomes a positive with a training row of its own, and another candidate takes its place.",
    )
    relabel_from: float = Field(0.8, ge=0, le=1, description="With relabel: above which relevance; from `threshold` to here it is dropped.")
    relabel_per_query: int = Field(3, ge=1, description="With relabel: positives that a query gets at the most, the most relevant first.")
    labels: bool = Field(
        False,
        description="With relabel: they are labels of the next rounds too, as promotions with the signal `judge`, which can be withdrawn.",
    )
    unjudged: Literal["keep", "reject"] = Field(
        "keep", description="What becomes of candidates that no judge answered for: they stay, or only judged ones are drawn."
    )
    rounds: int = Field(
        5, ge=1, le=100, description="How often what takes the place of dropped negatives is judged in its turn, at the most."
    )
    prompt: str = Field("judge-pair-1", description="A prompt that comes along, or a .txt file of yours: docs/judges.md.")
    instruction: str = Field("", description="What relevant means for your queries, put into the prompt.")
    max_characters: int = Field(4000, ge=100, description="Of each text that is put into the prompt.")
    budget: BudgetSettings = Field(BudgetSettings(), description="What one command may spend, on both judges together.")

    @model_validator(mode="after")
    def _has_a_judge(self) -> JudgeSettings:
        if not self.judges:
            raise ValueError("give a judge: cheap, strong or both, as in cheap: {model: …}")
        if self.action == "relabel" and self.relabel_from < self.threshold:
            raise ValueError(f"relabel_from {self.relabel_from} is below threshold {self.threshold}")
        if self.labels and self.action != "relabel":
            raise ValueError("labels goes with action: relabel")
        return self

    @property
    def judges(self) -> tuple[ChatSettings, ...]:
        """The models that are asked."""
        return tuple(judge for judge in (self.cheap, self.strong) if judge is not None)
