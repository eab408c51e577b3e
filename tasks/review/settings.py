"""Settings of the review loop."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.settings import Settings


class ExportSettings(Settings):
    """How a sample is written for reviewers."""

    format: Literal["csv", "jsonl"] = Field(default="csv", description="csv for spreadsheets, jsonl for tools")
    bom: bool = Field(default=True, description="begin CSV with a byte-order mark, which spreadsheets need to see that it is UTF-8")
    evidence: bool = Field(
        default=False,
        description="show reviewers the scores, ranks, strata and recipes too; who knows what a teacher thinks judges otherwise",
    )
    max_text: int = Field(default=32_000, ge=0, description="characters after which a text is cut (a cell holds 32,767); 0: never")


class PromotionSettings(Settings):
    """When a pseudo-positive becomes a label: which signals speak for it, and how many must agree."""

    min_signals: int = Field(default=2, ge=2, le=4, description="signals of different kinds that must agree")
    beyond_labels: bool = Field(
        default=True,
        description="one of them must be a review or a second teacher: teacher and label_evidence both rest on the same labels, and are "
        "wrong together",
    )
    per_query: int = Field(default=3, ge=1, description="most pairs promoted for one query, over all promotions that stand; best first")
    teacher: Literal["auto", "probability", "margin"] = Field(
        default="auto",
        description="what the teacher must say: its calibrated probability, or its logit beside that of the query's weakest positive; "
        "auto: the probability where the round has one. A teacher that cannot tell relevant from not is no signal",
    )
    teacher_probability: float = Field(default=0.5, gt=0, le=1, description="the least calibrated probability")
    teacher_margin: float = Field(default=0.0, description="the least logit, counted from that of the query's weakest positive")
    label_evidence: float = Field(default=0.8, description="the least evidence of neighbouring labels; 1: two halves of one answer")
    second_score: float = Field(default=0.5, description="the least score of a second teacher, on the scale of its file")
