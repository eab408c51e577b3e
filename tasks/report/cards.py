"""Examples and documents with their texts: cut for reading, the whole text behind a line to open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.report.examples import Example, Hub, Passage
from tasks.report.words import count, line, number, spaced, whole

_ID = 80  # characters of an id
_MOST_POSITIVES = 5


@dataclass(frozen=True)
class Text:
    """A text of the user.

    Args:
        short: on one line.
        full: the whole of it, if the short one leaves something out.
    """

    short: str
    full: str = ""

    @classmethod
    def of(cls, text: str) -> Text:
        """Cut where it is long."""
        short, full = line(text), whole(text)
        return cls(short, full if " ".join(full.split()) != short else "")


@dataclass(frozen=True)
class Chip:
    """A name and a number."""

    name: str
    value: str


@dataclass(frozen=True)
class Document:
    """A document in a card.

    Args:
        kind: positive, negative or document: its colour.
        tag: said before it.
        doc_id: the user's id.
        title: may be empty.
        text: of the document.
        chips: its scores.
    """

    kind: str
    tag: str
    doc_id: str
    title: str
    text: Text
    chips: tuple[Chip, ...] = ()


@dataclass(frozen=True)
class Card:
    """A query with its documents, or one document.

    Args:
        query: empty for a document alone.
        query_id: the user's id.
        documents: the positives, then the negative.
        more: positives that are not shown.
        verdict: what was decided and why.
        reasons: the rules' names.
        note: whatever else is to be said.
    """

    documents: tuple[Document, ...]
    query: Text | None = None
    query_id: str = ""
    more: int = 0
    verdict: str = ""
    reasons: tuple[str, ...] = field(default=())
    note: str = ""


def example_cards(examples: Sequence[Example]) -> tuple[Card, ...]:
    """One card an example."""
    return tuple(_example(each) for each in examples)


def hub_cards(hubs: Sequence[Hub]) -> tuple[Card, ...]:
    """One card a document, the most used first."""
    ordered = sorted(hubs, key=lambda hub: (-hub.uses, hub.doc_id))
    return tuple(Card((_hub(each),)) for each in ordered)


def _example(each: Example) -> Card:
    shown = each.positives[:_MOST_POSITIVES]
    kind = "negative" if each.decision == "negative" else "document"
    return Card(
        documents=(*(_document(one, "positive", "positive") for one in shown), _document(each.negative, kind, spaced(each.decision))),
        query=Text.of(each.query),
        query_id=line(each.query_id, _ID),
        more=len(each.positives) - len(shown),
        verdict=spaced(each.decision),
        reasons=tuple(line(reason, 60) for reason in each.reasons),
        note=line(each.note, 400),
    )


def _document(each: Passage, kind: str, tag: str) -> Document:
    return Document(kind, tag, line(each.doc_id, _ID), line(each.title, 160), Text.of(each.text), _chips(each.scores))


def _chips(scores: Mapping[str, float | None]) -> tuple[Chip, ...]:
    return tuple(Chip(spaced(line(name, 40)), number(value)) for name, value in scores.items() if value is not None)


def _hub(each: Hub) -> Document:
    chips = (Chip("uses", count(each.uses)), *((Chip("queries", count(each.queries)),) if each.queries is not None else ()))
    return Document("document", "", line(each.doc_id, _ID), line(each.title, 160), Text.of(each.text), chips)
