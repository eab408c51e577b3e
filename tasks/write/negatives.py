"""What a writer of negatives is asked and answers, and which of its drafts are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from tasks.remote.ask import Question
from tasks.remote.prompts import Prompt, load_prompt
from tasks.schema import SYNTHETIC
from tasks.store.keys import input_hash, norm_hash, normalise
from tasks.write.settings import WriteSettings

FIELDS = ("query", "positive", "count", "difficulty", "words", "instruction")
KEPT, COPY, EMPTY = "kept", "copy_of_document", "empty"
NEAR_POSITIVE, NEAR = "near_copy_of_positive", "near_copy_of_document"


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
    """A query that a negative is written for, a document that is known to answer it, and the ids of all such."""

    query_id: str
    query: str
    positive: str
    positives: frozenset[str] = frozenset()


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
    return SYNTHETIC + input_hash(draft.title, draft.text)[:16]


def looked_at(
    needs: Sequence[Need], answers: Sequence[Drafts | None], corpus: Iterable[tuple[str, str, str]], containment: float
) -> list[Mapping[str, str]]:
    """Each draft with its query and what becomes of it.

    Args:
        needs: queries.
        answers: the writer's answer for each; ``None``: none of use.
        corpus: id, title and text of all documents; gone through once.
        containment: see :attr:`WriteSettings.containment`.

    Returns:
        query_id, doc_id, title, text, contradicts, status: kept; copy_of_document (in normal form, also of an earlier draft for the
        query and of the query itself); near_copy_of_positive, of any of the query's; near_copy_of_document; empty.
    """
    drafts = [draft for answer in answers if answer is not None for draft in answer.documents]
    wanted = {norm_hash(draft.text, title) for draft in drafts for title in ("", draft.title)}
    known, near = _compared({draft.text for draft in drafts}, wanted, corpus, containment)
    found: list[Mapping[str, str]] = []
    for need, answer in zip(needs, answers, strict=True):
        seen = {norm_hash(need.query)}
        for draft in answer.documents if answer is not None else ():
            own = norm_hash(draft.text, draft.title)
            if not normalise(draft.text):
                status = EMPTY
            elif own in known or norm_hash(draft.text) in known or own in seen or norm_hash(draft.text) in seen:
                status = COPY
            elif contained(draft.text, need.positive) >= containment or near[draft.text] & need.positives:
                status = NEAR_POSITIVE
            else:
                status = NEAR if near[draft.text] else KEPT
            seen |= {own, norm_hash(draft.text)}
            found.append({"query_id": need.query_id, "doc_id": document_id(draft), **draft.model_dump(), "status": status})
    return found


def _compared(
    texts: Collection[str], wanted: Collection[str], corpus: Iterable[tuple[str, str, str]], containment: float
) -> tuple[set[str], dict[str, set[str]]]:
    """Which of some ``norm_hash`` documents have (whole, or their text alone), and for each text the ids of those that hold its n-grams."""
    known: set[str] = set()
    grams = {text: _grams(text) for text in texts}
    holders: dict[tuple[str, ...], list[str]] = {}
    for text in sorted(grams):
        for gram in grams[text]:
            holders.setdefault(gram, []).append(text)
    near: dict[str, set[str]] = {text: set() for text in texts}
    for doc_id, title, text in corpus:
        known |= {norm_hash(text or "", title or ""), norm_hash(text or "")}.intersection(wanted)
        shared = Counter(own for gram in _grams(f"{title or ''}\n{text or ''}") & holders.keys() for own in holders[gram])
        for own, count in shared.items():
            if count >= containment * len(grams[own]):
                near[own].add(doc_id)
    return known, near


def contained(text: str, other: str) -> float:
    """Share of a text's word trigrams that another text has; of a shorter text its words count as one.

    >>> contained("a b c d", "x a b c y"), contained("a b", "a b")
    (0.5, 1.0)
    """
    own, there = _grams(text), _grams(other)
    return len(own & there) / len(own) if own else 0.0


def _grams(text: str, size: int = 3) -> set[tuple[str, ...]]:
    words = normalise(text).split()
    return {tuple(words[start : start + size]) for start in range(max(1, len(words) - size + 1))} if words else set()
