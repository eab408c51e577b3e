"""How negatives are written."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.judge.settings import JudgeSettings
from tasks.remote.settings import BudgetSettings, ChatSettings
from tasks.settings import Settings


class WriteSettings(Settings):
    """Written negatives: close to the positive, and contradicting it in a fact that the query asks for.

    Source: SyNeg (Li et al. 2024, arXiv:2412.17250) [third party]: written beside mined negatives, difficulty and length asked for.
    The checks and the marks are ours.
    """

    model: ChatSettings = Field(description="The writer.")
    per_query: int = Field(1, ge=1, le=20, description="Written negatives beside the mined ones in a training row.")
    drafts: int = Field(2, ge=1, le=20, description="Documents that are asked for, a query: what is set aside leaves others.")
    difficulty: Literal["easy", "medium", "hard"] = Field("hard", description="How close to the positive they should be.")
    words: int = Field(0, ge=0, le=5000, description="Words that a document should have; 0: as many as the positive.")
    containment: float = Field(
        0.9, gt=0, le=1, description="Share of a draft's word trigrams that one document has too, from which it is a copy."
    )
    teacher_margin: float = Field(0.0, description="A draft is relevant unless its teacher logit is so much under the positive's.")
    least_share: float = Field(0.5, ge=-1, le=1, description="Under this share of the positive's dense score a draft is trivial.")
    judge: JudgeSettings | None = Field(None, description="Judges of the written negatives that are drawn; none: the teacher alone.")
    prompt: str = Field("write-negative-1", description="A prompt that comes along, or a .txt file of yours: docs/judges.md.")
    instruction: str = Field("", description="What is special about your documents, put into the prompt.")
    max_characters: int = Field(4000, ge=100, description="Of the positive that is put into the prompt.")
    budget: BudgetSettings = Field(BudgetSettings(), description="What one command may spend on the writer.")
