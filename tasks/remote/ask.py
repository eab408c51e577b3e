"""Ask a model many questions: what is kept is looked up, the rest is asked side by side, within the budget, and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic

from pydantic import BaseModel

from tasks.remote.answers import Answer, answer_key, find, settled, store_of
from tasks.remote.batch import Export, export_prompts
from tasks.remote.budget import Budget, Spent
from tasks.remote.client import Message
from tasks.remote.forms import Form, bare, form_schema
from tasks.remote.journal import take_over
from tasks.remote.run import Run
from tasks.remote.settings import ChatSettings
from tasks.store.lease import turn
from tasks.store.storage import Storage


@dataclass(frozen=True)
class Question:
    """One prompt, filled in. ``prompt``: label of its file."""

    messages: tuple[Message, ...]
    prompt: str = ""


@dataclass
class Asked(Generic[Form]):
    """What came of some questions, in their order.

    Args:
        answers: the kept answer of each; ``None``: it was not asked, or the endpoint gave nothing. One that the endpoint did not take for
            what is in it is an answer too, with status ``rejected``.
        forms: the answers' content, checked; ``None``: there is none, or not in the wanted form.
        failures: why the endpoint gave nothing, by place; such questions are asked again next time.
        spent: in this call.
        cached: questions that were answered before.
        stopped: why it ended early; empty: it did not.
        new: keys of the answers that were paid for in this call.
    """

    answers: list[Answer | None]
    forms: list[Form | None]
    failures: dict[int, str] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)
    cached: int = 0
    stopped: str = ""
    new: frozenset[str] = frozenset()

    def count(self, status: str) -> int:
        """Different answers of a status."""
        return len({answer.key for answer in self.answers if answer is not None and answer.status == status})

    @property
    def open(self) -> int:
        """Questions without an answer."""
        return sum(answer is None for answer in self.answers)


def keys_of(settings: ChatSettings, questions: Sequence[Question], form: type[BaseModel]) -> list[str]:
    """The key of each question's answer."""
    store, schema, parameters = store_of(settings.model, settings.revision), form_schema(form), settings.parameters()
    return [answer_key(store, question.messages, parameters, schema) for question in questions]


def known(storage: Storage, settings: ChatSettings, questions: Sequence[Question], form: type[Form]) -> Asked[Form]:
    """What is kept; nothing is asked."""
    keys = keys_of(settings, questions, form)
    found = settled(find(storage, store_of(settings.model, settings.revision), set(keys)), settings.ask_rejected)
    return _asked(keys, found, form, len(found))


def ask(
    storage: Storage,
    settings: ChatSettings,
    questions: Sequence[Question],
    form: type[Form],
    budget: Budget | None = None,
    report: Callable[[int], None] = lambda _: None,
    say: Callable[[str], None] = lambda _: None,
    export: Export | None = None,
    keep: Callable[[Asked[Form]], object] = lambda _: None,
) -> Asked[Form]:
    """Answers to all questions, as far as the budget and the endpoint allow. Equal questions are asked once.

    Every answer is kept as soon as it is there: stopped or killed, the same call goes on where it was. An answer that is not in the wanted
    form is asked for again, told why; after that it is kept as malformed. A refusal is kept, and so is what the endpoint does not take (too
    long, a content filter). None of these is asked again.

    Args:
        storage: the root.
        settings: model, parameters, endpoint.
        questions: what to ask.
        form: what an answer's JSON must be.
        budget: what may be spent; none: no limit.
        report: is told how many questions more are done.
        say: is told why nothing goes on.
        export: the file that questions without an answer are written to instead of being asked.
        keep: is told what came of it, also where an error or Ctrl-C ends it.

    Raises:
        Exported: there were such questions, and they are in that file.
        UsageError: the key is not in the environment.
        ModelError: the endpoint refuses the key, the model, the address or a setting.
    """
    budget, store = budget or Budget(), store_of(settings.model, settings.revision)
    keys, before = keys_of(settings, questions, form), budget.spent
    with turn(storage, f"answers/{store}", "asking", lambda other: say(f"{settings.model}: waiting for {other}, which is asking it")):
        take_over(storage, store)
        kept = find(storage, store, set(keys))
        found = settled(kept, settings.ask_rejected)
        cached = len(found)
        report(sum(key in found for key in keys))
        todo = {key: question for key, question in zip(keys, questions, strict=True) if key not in found}
        if todo and export is not None:
            export_prompts(storage, store, settings, {key: (one.messages, one.prompt) for key, one in todo.items()}, form, export)
        begun = {key: answer for key, answer in kept.items() if key not in found and answer.status == "retry"}
        run = Run(storage, store, settings, form, budget, report, begun) if todo else None
        try:
            if run is not None:
                run.works = any(answer.status == "ok" for answer in found.values())
                run.all(todo)
        except BaseException as error:
            assert run is not None, "nothing else can fail"
            run.stopped = f"{type(error).__name__}: {getattr(error, 'message', '')}".removesuffix(": ")
            raise
        finally:
            asked = _asked(keys, found | (run.found if run else {}), form, cached)
            if run is not None:
                asked.new = frozenset(run.found)
                asked.failures = {place: run.failures[key] for place, key in enumerate(keys) if key in run.failures}
                asked.stopped, asked.spent = run.stopped, budget.spent - before
            keep(asked)
    return asked


def _asked(keys: Sequence[str], found: dict[str, Answer], form: type[Form], cached: int) -> Asked[Form]:
    answers = [found.get(key) for key in keys]
    forms = [form.model_validate_json(bare(one.content)) if one is not None and one.status == "ok" else None for one in answers]
    return Asked(answers, forms, cached=cached)
