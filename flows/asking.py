"""Ask a language model on behalf of a command: with its progress, its file of prompts, and a record for the audit however it ends."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from flows.cache_only import LOOKING
from tasks.audit.asks import keep_asking
from tasks.audit.build import build_audit
from tasks.errors import HardmineError, ModelError
from tasks.remote.ask import Asked, Question, ask, known
from tasks.remote.batch import Export
from tasks.remote.budget import Budget
from tasks.remote.forms import Form
from tasks.remote.settings import ChatSettings
from tasks.runner.runner import Context
from tasks.runner.stage import NotCached


@dataclass(frozen=True)
class About:
    """What some questions are about.

    Args:
        dataset: whose queries or documents.
        round: its number; 0: none.
        purpose: judge cheap, judge strong, write negatives, write queries.
        unit: what is counted.
        prompt: label of the prompt.
    """

    dataset: str
    round: int
    purpose: str
    unit: str
    prompt: str


def ask_for(
    context: Context,
    about: About,
    model: ChatSettings,
    questions: Sequence[Question],
    form: type[Form],
    budget: Budget,
    export: Path | None = None,
) -> Asked[Form]:
    """As :func:`tasks.remote.ask.ask`. What was asked and paid is in the audit also where an error ends it.

    Args:
        context: storage and progress.
        about: for progress and audit.
        model: that is asked.
        questions: what.
        form: of the answers.
        budget: the command's.
        export: a file that open questions are written to instead of being asked.

    Raises:
        NotCached: questions are open, and the run only looks whether all is there.
        As :func:`tasks.remote.ask.ask`.
    """
    if context.executor in LOOKING and known(context.storage, model, questions, form).open:
        raise NotCached(about.purpose)
    progress, storage = context.progress, context.storage
    progress.start(about.purpose, about.unit, len(questions), 0)

    def keep(asked: Asked[Form]) -> None:
        keep_asking(storage, about.dataset, about.round, about.purpose, model, about.prompt, asked)

    target = Export(export, about.dataset, about.round, about.purpose) if export else None
    try:
        return ask(storage, model, questions, form, budget, lambda done: progress.advance(about.purpose, done), progress.say, target, keep)
    except ModelError:
        with suppress(HardmineError):  # the endpoint's error is what the user must see
            build_audit(storage)
        raise
