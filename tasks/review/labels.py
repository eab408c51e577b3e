"""What reviewers answered: read from their files, checked row by row, settled where several looked at one pair."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.errors import InputError, nearest
from tasks.foreign import repair
from tasks.review.cells import LABELS, UNSURE, label_of, unmask
from tasks.review.readers import Row, read_rows
from tasks.review.sample import Manifest, SampledPair

_SHOWN = 200


class Answer(BaseModel):
    """One reviewer's label of one pair. ``reviewer`` is empty where nobody was named."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pair: str
    reviewer: str = ""
    label: str
    note: str = ""


@dataclass(frozen=True)
class Aside:
    """A row that was not taken: where, why, and how to mend it."""

    file: str
    line: int
    reason: str
    mend: str
    content: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}\n  mend: {self.mend}"


@dataclass(frozen=True)
class Agreement:
    """How two reviewers agree on the pairs that both labelled.

    Args:
        first: a reviewer.
        second: another.
        pairs: that both labelled.
        share: of them with the same label.
        kappa: Cohen's kappa over relevant, not and unsure (Cohen 1960 [K]); ``None`` where chance alone explains all agreement.
    """

    first: str
    second: str
    pairs: int
    share: float
    kappa: float | None


@dataclass(frozen=True)
class Answers:
    """What some files say.

    Args:
        answers: at most one a pair and reviewer, by pair and reviewer.
        aside: rows that were not taken, by file and line.
        unreviewed: exported pairs that nobody labelled in these files.
        agreement: of each two reviewers who share pairs.
    """

    answers: tuple[Answer, ...]
    aside: tuple[Aside, ...]
    unreviewed: int
    agreement: tuple[Agreement, ...]


@dataclass(frozen=True)
class _Place:
    file: str
    line: int
    content: str
    answer: Answer


def read_manifest(path: Path) -> Manifest:
    """The manifest of a labelled file: its sibling ``<name>.review.json``, or the only one in its folder.

    Raises:
        InputError: there is none, it cannot be told which, or it is damaged.
    """
    own = path.with_name(f"{path.stem}.review.json")
    found = [own] if own.exists() else sorted(path.parent.glob("*.review.json"))
    if len(found) != 1:
        raise InputError(
            f"{path}: there {'is no manifest' if not found else f'are {len(found)} manifests'} of a review beside it",
            f"put {own.name}, which export wrote, beside it",
        )
    return load_manifest(found[0])


def load_manifest(path: Path) -> Manifest:
    """A manifest file.

    Raises:
        InputError: it cannot be read, or was changed.
    """
    try:
        return Manifest.model_validate_json(path.read_bytes()).verified()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no manifest of a review ({str(error).splitlines()[0]})", "take the file that export wrote") from error


def read_labels(paths: Sequence[Path], manifest: Manifest) -> Answers:
    """The labels of some files of one export.

    A reviewer is who the column ``reviewer`` names; else, of several files, the file's name. The same label given twice counts once;
    two labels of one pair by one reviewer are both set aside. A row without a label is not yet reviewed.

    Args:
        paths: CSV with any delimiter, or JSON, as reviewers gave them back.
        manifest: of the export.

    Raises:
        InputError: a file cannot be read at all, or has no column ``label``.
    """
    known = {one.pair: one for one in manifest.pairs}
    ids = {(one.query_id, one.doc_id): one for one in manifest.pairs}
    places: list[_Place] = []
    aside: list[Aside] = []
    for path in paths:
        for row in read_rows(path):
            taken = _taken(str(path), row, path.stem if len(paths) > 1 else "", known, ids)
            if isinstance(taken, Aside):
                aside.append(taken)
            elif taken is not None:
                places.append(taken)
    answers, contradicted = _once(places)
    order = {str(path): number for number, path in enumerate(paths)}
    return Answers(
        answers=tuple(answers),
        aside=tuple(sorted([*aside, *contradicted], key=lambda one: (order[one.file], one.line))),
        unreviewed=len(known) - len({answer.pair for answer in answers}),
        agreement=tuple(agreement(answers)),
    )


def settle(answers: Iterable[Answer]) -> dict[str, str]:
    """One label a pair: what more than half of its reviewers say, else unsure.

    >>> pair = [Answer(pair="p1", reviewer=name, label=label) for name, label in (("a", "not"), ("b", "not"), ("c", "relevant"))]
    >>> settle(pair), settle(pair[1:])
    ({'p1': 'not'}, {'p1': 'unsure'})
    """
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in answers:
        votes[answer.pair][answer.label] += 1
    settled = {}
    for pair, counts in votes.items():
        label, most = counts.most_common(1)[0]
        settled[pair] = label if 2 * most > counts.total() else UNSURE
    return settled


def agreement(answers: Iterable[Answer]) -> list[Agreement]:
    """The agreement of each two reviewers who labelled the same pairs, by their names."""
    by_reviewer: dict[str, dict[str, str]] = defaultdict(dict)
    for answer in answers:
        by_reviewer[answer.reviewer][answer.pair] = answer.label
    names = sorted(by_reviewer)
    found = [(a, b, _common(by_reviewer[a], by_reviewer[b])) for place, a in enumerate(names) for b in names[place + 1 :]]
    return [Agreement(a, b, len(common), _share(common), kappa(common)) for a, b, common in found if common]


def kappa(labels: Sequence[tuple[str, str]]) -> float | None:
    """Cohen's kappa of two reviewers' labels of the same pairs: (observed − expected) ÷ (1 − expected) agreement.

    Args:
        labels: (first's, second's) label of each pair; at least one.
    """
    count = len(labels)
    first, second = Counter(a for a, _ in labels), Counter(b for _, b in labels)
    expected = sum(first[label] * second[label] for label in LABELS)  # times count²
    if expected == count * count:
        return None
    return (_share(labels) - expected / count**2) / (1 - expected / count**2)


def _share(labels: Sequence[tuple[str, str]]) -> float:
    return sum(a == b for a, b in labels) / len(labels)


def _common(first: Mapping[str, str], second: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(label, second[pair]) for pair, label in first.items() if pair in second]


def _taken(
    file: str, row: Row, reviewer: str, known: Mapping[str, SampledPair], ids: Mapping[tuple[str, str], SampledPair]
) -> _Place | Aside | None:
    content = repair(" | ".join(f"{name}={value}" for name, value in row.values.items() if value not in (None, ""))[:_SHOWN])
    if row.problem:
        return Aside(file, row.line, row.problem, row.mend, content)
    pair, query_id, doc_id = (_text(row, name) for name in ("pair", "query_id", "doc_id"))
    one = known.get(pair.strip()) if pair.strip() else ids.get((query_id, doc_id))
    if one is None:
        named = f"pair {pair.strip()!r}" if pair.strip() else f"query {query_id!r} with document {doc_id!r}" if query_id or doc_id else ""
        reason = f"{named} is not of this review" if named else "no pair is named"
        return Aside(
            file, row.line, reason, "copy the row's pair from the exported file; a file of another review has its own manifest", content
        )
    try:
        label = label_of(row.values.get("label"))
    except ValueError as error:
        close = nearest(str(error), LABELS)
        mend = close if close.startswith("did") else "write relevant, not or unsure (or yes, no, ?), or nothing"
        return Aside(file, row.line, f"the label {str(row.values['label'])[:40]!r} is not known", mend, content)
    if label is None:
        return None
    name = _text(row, "reviewer").strip() or reviewer
    return _Place(file, row.line, content, Answer(pair=one.pair, reviewer=name, label=label, note=_text(row, "note").strip()))


def _once(places: Sequence[_Place]) -> tuple[list[Answer], list[Aside]]:
    """One answer a pair and reviewer; those that contradict each other aside."""
    together: dict[tuple[str, str], list[_Place]] = defaultdict(list)
    for place in places:
        together[(place.answer.pair, place.answer.reviewer)].append(place)
    answers, aside = [], []
    for key in sorted(together):
        same = together[key]
        if len({place.answer.label for place in same}) == 1:
            notes = dict.fromkeys(place.answer.note for place in same if place.answer.note)
            answers.append(same[0].answer.model_copy(update={"note": "; ".join(notes)}))
            continue
        told = ", ".join(f"{place.answer.label} in {place.file}:{place.line}" for place in same)
        mend = "leave one of the labels, or name the reviewers in a column 'reviewer'"
        aside += [Aside(place.file, place.line, f"one pair has several labels: {told}", mend, place.content) for place in same]
    return answers, aside


def _text(row: Row, name: str) -> str:
    value: Any = row.values.get(name)
    return "" if value is None else unmask("\0".join(map(repair, str(value).split("\0"))))  # a NUL stays: it can be stored in JSON
