"""What a writer of negatives is asked and answers, and which of its drafts are kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from tasks.remote.ask import Question
from tasks.remote.prompts import Prompt, load_prompt
from tasks.store.keys import input_hash, norm_hash, normalise
from tasks.write.settings import WriteSettings

PREFIX = "synthetic:"  #: of the ids of all written documents
FIELDS = ("query", "positive", "count", "difficulty", "words", "instruction")
KEPT, COPY, NEAR, EMPTY = "kept", "copy_of_document", "near_copy_of_positive", "empty"


class Draft(BaseModel):
    """One written document, and the fact that it changes."""

    title: str = ""
    text: str = Field(min_length=1)
    contradicts: str = ""


class Drafts(BaseModel):
    """A writer's answer."""

    documents: list[Draft] = Field(min_length=1)


@dataclass(frozen=True)
class Need:
    """A query that a negative is written for, and a document that is known to answer it."""

    query_id: str
    query: str
    positive: str


def write_prompt(settings: WriteSettings) -> Prompt:
    """The prompt that the settings name.

    Raises:
        UsageError: it is missing, or shows the writer no query or no positive.
    """
    return load_prompt(settings.prompt, FIELDS, ("query", "positive"))


def write_questions(prompt: Prompt, settings: WriteSettings, needs: Sequence[Need]) -> list[Question]:
    """One question a query."""
    return [
        Question(
            tuple(
                prompt.fill(
                    {
                        "query": need.query[: settings.max_characters],
                        "positive": need.positive[: settings.max_characters],
                        "count": settings.drafts,
                        "difficulty": settings.difficulty,
                        "words": settings.words or max(5, len(need.positive.split())),
                        "instruction": settings.instruction,
                    }
                )
            ),
            prompt.label,
        )
        for need in needs
    ]


def document_id(draft: Draft) -> str:
    """Of a written document: by its content.

    >>> document_id(Draft(title="T", text="text"))
    'synthetic:929fd1f23f8f0d99'
    """
    return PREFIX + input_hash(draft.title, draft.text)[:16]


def looked_at(
    needs: Sequence[Need], drafts: Sequence[Drafts | None], known: Collection[str], containment: float
) -> list[Mapping[str, str]]:
    """Each draft with its query and what becomes of it.

    Args:
        needs: queries.
        drafts: the writer's answer for each; ``None``: none of use.
        known: ``norm_hash`` of all documents of the corpus.
        containment: see :attr:`WriteSettings.containment`.

    Returns:
        query_id, doc_id, title, text, contradicts, status: kept; copy_of_document (in normal form, also of an earlier draft for the
        query and of the query itself); near_copy_of_positive; empty.
    """
    found: list[Mapping[str, str]] = []
    for need, answer in zip(needs, drafts, strict=True):
        seen = {norm_hash(need.query)}
        for draft in answer.documents if answer is not None else ():
            own = norm_hash(draft.text, draft.title)
            if not normalise(draft.text):
                status = EMPTY
            elif own in known or own in seen or norm_hash(draft.text) in seen:
                status = COPY
            else:
                status = NEAR if contained(draft.text, need.positive) >= containment else KEPT
            seen |= {own, norm_hash(draft.text)}
            found.append({"query_id": need.query_id, "doc_id": document_id(draft), **draft.model_dump(), "status": status})
    return found


def contained(text: str, other: str, size: int = 3) -> float:
    """Share of a text's word n-grams that another text has; of a shorter text its words count as one.

    >>> contained("a b c d", "x a b c y"), contained("a b", "a b")
    (0.5, 1.0)
    """
    own, there = _grams(text, size), _grams(other, size)
    return len(own & there) / len(own) if own else 0.0


def _grams(text: str, size: int) -> set[tuple[str, ...]]:
    words = normalise(text).split()
    return {tuple(words[start : start + size]) for start in range(max(1, len(words) - size + 1))} if words else set()
