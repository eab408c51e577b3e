"""The cascade: the cheap judge sees every pair, the strong one those that it flags. Then one relevance a pair."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.judge.questions import Verdict
from tasks.judge.settings import JudgeSettings
from tasks.remote.ask import Asked, Question
from tasks.remote.settings import ChatSettings

AskModel = Callable[[str, ChatSettings, Sequence[Question]], Asked[Verdict]]


@dataclass(frozen=True)
class Judged:
    """What the judges say of one pair.

    Args:
        relevance: of the judge that decided, 0 … 1; ``None``: nobody answered, or the strong judge has yet to be asked.
        decided_by: ``cheap`` or ``strong``; empty: nobody.
        cheap: relevance by the cheap judge; ``None``: not asked, refused or malformed.
        strong: likewise.
        reason: the deciding judge's words.
    """

    relevance: float | None = None
    decided_by: str = ""
    cheap: float | None = None
    strong: float | None = None
    reason: str = ""


def cascade(settings: JudgeSettings, questions: Sequence[Question], ask: AskModel) -> tuple[list[Judged], str]:
    """Judge pairs.

    A flagged pair is the strong judge's to decide: until it was asked, the pair is undecided. Where it was asked and its answer is of no
    use (refused, malformed), the cheap one's relevance stands. A pair to which the cheap judge gives none goes to the strong one.

    Args:
        settings: the judges and the cascade's thresholds.
        questions: one a pair.
        ask: from (purpose, model, questions) to answers.

    Returns:
        One a question, and why it ended early (empty: it did not).
    """
    cheap: list[Verdict | None] = [None] * len(questions)
    stopped = ""
    if settings.cheap is not None:
        asked = ask("judge cheap", settings.cheap, questions)
        cheap, stopped = asked.forms, asked.stopped
    flagged = [place for place, verdict in enumerate(cheap) if verdict is None or verdict.relevance >= settings.flag]
    if stopped:  # pairs that the cheap judge was not asked about are not the strong one's
        flagged = [place for place in flagged if cheap[place] is not None]
    strong: list[Verdict | None] = [None] * len(questions)
    waiting = set(flagged) if settings.strong is not None else set()
    if settings.strong is not None and flagged and not stopped:
        asked = ask("judge strong", settings.strong, [questions[place] for place in flagged])
        stopped = asked.stopped
        for place, verdict, answer in zip(flagged, asked.forms, asked.answers, strict=True):
            strong[place] = verdict
            if answer is not None:
                waiting.remove(place)
    return [_judged(one, other, place in waiting) for place, (one, other) in enumerate(zip(cheap, strong, strict=True))], stopped


def _judged(cheap: Verdict | None, strong: Verdict | None, waiting: bool) -> Judged:
    """One pair's outcome; ``waiting``: the strong judge has yet to be asked."""
    decided = None if waiting else strong or cheap
    if decided is None:
        return Judged(cheap=cheap.relevance if cheap is not None else None)
    return Judged(
        relevance=decided.relevance,
        decided_by="strong" if strong is not None else "cheap",
        cheap=cheap.relevance if cheap is not None else None,
        strong=strong.relevance if strong is not None else None,
        reason=decided.reason,
    )
