"""What a judge is asked and answers: one pair of a query and a document, beside a document that is known to be relevant."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, Field

from tasks.judge.settings import JudgeSettings
from tasks.remote.ask import Question
from tasks.remote.prompts import Prompt, load_prompt

FIELDS = ("query", "positive", "document", "instruction")


class Verdict(BaseModel):
    """A judge's answer. ``confidence``: how sure it is of ``relevant``, 0 … 1."""

    relevant: bool
    confidence: float = Field(1.0, ge=0, le=1)
    reason: str = ""

    @property
    def relevance(self) -> float:
        """0 … 1: sure that it is not relevant … sure that it is."""
        return round(self.confidence if self.relevant else 1.0 - self.confidence, 6)


def judge_prompt(settings: JudgeSettings) -> Prompt:
    """The prompt that the settings name.

    Raises:
        UsageError: it is missing, or shows the judge no query or no document.
    """
    return load_prompt(settings.prompt, FIELDS, ("query", "document"))


def judge_questions(
    prompt: Prompt, settings: JudgeSettings, queries: Sequence[str], positives: Sequence[str], documents: Sequence[str]
) -> list[Question]:
    """One question a pair.

    Args:
        prompt: :func:`judge_prompt`.
        settings: instruction, and how long texts may be.
        queries: text of each pair's query.
        positives: of a relevant document of that query; empty: none is known.
        documents: of the document to judge.
    """
    most = settings.max_characters
    return [
        Question(
            tuple(
                prompt.fill(
                    {"query": query[:most], "positive": positive[:most], "document": document[:most], "instruction": settings.instruction}
                )
            ),
            prompt.label,
        )
        for query, positive, document in zip(queries, positives, documents, strict=True)
    ]
