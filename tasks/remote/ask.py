"""Ask a model many questions: what is kept is looked up, the rest is asked side by side, within the budget, and kept."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic

from pydantic import BaseModel

from tasks.errors import ModelError
from tasks.remote.answers import Answer, answer_key, find, settled, store_of
from tasks.remote.batch import Export, export_prompts
from tasks.remote.budget import Budget, OutOfBudget, Spent
from tasks.remote.client import Client, Message, Rejected, Reply
from tasks.remote.forms import Form, answer_of, bare, correction, form_schema, most_tokens, prompt_bytes
from tasks.remote.journal import Journal, take_over
from tasks.remote.pace import Pace, Stopped, Transient
from tasks.remote.settings import ChatSettings
from tasks.store.lease import turn
from tasks.store.storage import Storage

_GIVE_UP = 10  # questions in a row to which the endpoint gave nothing


@dataclass(frozen=True)
class Question:
    """One prompt, filled in. ``prompt``: label of its file."""

    messages: tuple[Message, ...]
    prompt: str = ""


@dataclass
class Asked(Generic[Form]):
    """What came of some questions, in their order.

    Args:
        answers: the kept answer of each; ``None``: it was not asked, or the endpoint gave nothing.
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
    found = settled(find(storage, store_of(settings.model, settings.revision), set(keys)))
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
) -> Asked[Form]:
    """Answers to all questions, as far as the budget and the endpoint allow. Equal questions are asked once.

    Every answer is kept as soon as it is there: stopped or killed, the same call goes on where it was. An answer that is not in the wanted
    form is asked for again, told why; after that it is kept as malformed. A refusal is kept. Neither is asked again.

    Args:
        storage: the root.
        settings: model, parameters, endpoint.
        questions: what to ask.
        form: what an answer's JSON must be.
        budget: what may be spent; none: no limit.
        report: is told how many questions more are done.
        say: is told why nothing goes on.
        export: the file that questions without an answer are written to instead of being asked.

    Raises:
        Exported: there were such questions, and they are in that file.
        UsageError: the key is not in the environment.
        ModelError: the endpoint refuses the key, the model or the address.
    """
    budget, store = budget or Budget(), store_of(settings.model, settings.revision)
    keys, before = keys_of(settings, questions, form), budget.spent
    with turn(storage, f"answers/{store}", "asking", lambda other: say(f"{settings.model}: waiting for {other}, which is asking it")):
        take_over(storage, store)
        kept = find(storage, store, set(keys))
        found = settled(kept)
        cached = len(found)
        report(sum(key in found for key in keys))
        todo = {key: question for key, question in zip(keys, questions, strict=True) if key not in found}
        if todo and export is not None:
            export_prompts(storage, store, settings, {key: (one.messages, one.prompt) for key, one in todo.items()}, form, export)
        begun = {key: answer for key, answer in kept.items() if key not in found}
        run = _Run(storage, store, settings, form, budget, report, begun) if todo else None
        new = run.all(todo) if run is not None else {}
    found |= new
    asked = _asked(keys, found, form, cached)
    if run is not None:
        asked.new = frozenset(new)
        asked.failures = {place: run.failures[key] for place, key in enumerate(keys) if key in run.failures}
        asked.stopped = run.stopped
        asked.spent = budget.spent - before
    return asked


def _asked(keys: Sequence[str], found: dict[str, Answer], form: type[Form], cached: int) -> Asked[Form]:
    answers = [found.get(key) for key in keys]
    forms = [form.model_validate_json(bare(one.content)) if one is not None and one.status == "ok" else None for one in answers]
    return Asked(answers, forms, cached=cached)


class _Run(Generic[Form]):
    """One asking: threads that take questions from one queue, until it is empty, the budget is spent, or the endpoint gives nothing."""

    def __init__(
        self,
        storage: Storage,
        store: str,
        settings: ChatSettings,
        form: type[Form],
        budget: Budget,
        report: Callable[[int], None],
        begun: Mapping[str, Answer],
    ) -> None:
        self._begun = begun  # questions whose first answer was malformed when an earlier run ended
        self.failures: dict[str, str] = {}
        self.stopped = ""
        self._settings, self._form, self._schema, self._budget, self._report = settings, form, form_schema(form), budget, report
        self._client, self._pace = Client(settings), Pace(settings)
        self._journal = Journal(storage, store)
        self._lock = threading.Lock()
        self._found: dict[str, Answer] = {}
        self._in_a_row = 0
        self._fatal: BaseException | None = None

    def all(self, todo: dict[str, Question]) -> dict[str, Answer]:
        """Ask; whatever happens, what was answered is kept."""
        queue = iter(todo.items())
        try:
            with ThreadPoolExecutor(min(self._settings.concurrency, len(todo))) as threads:
                workers = [threads.submit(self._work, queue) for _ in range(min(self._settings.concurrency, len(todo)))]
                try:
                    for worker in workers:
                        worker.result()
                except BaseException:  # Ctrl-C comes here: calls in flight end, none begins
                    self._pace.stop()
                    raise
        finally:
            self._journal.close()
            self._client.close()
        if self._fatal is not None:
            raise self._fatal
        return self._found

    def _work(self, queue: Iterator[tuple[str, Question]]) -> None:
        while True:
            with self._lock:
                if self.stopped or self._fatal is not None:
                    return
                key, question = next(queue, (None, None))
            if key is None or question is None:
                return
            try:
                answer = self._answer(key, question)
            except OutOfBudget as limit:
                self._end(f"the budget of {limit.limit} is used up")
            except Stopped:
                return
            except (Transient, Rejected) as failure:
                self._failed(key, str(failure))
            except BaseException as error:
                with self._lock:
                    self._fatal = self._fatal or error
                self._pace.stop()
                return
            else:
                with self._lock:
                    self._in_a_row = 0
                    self._found[key] = answer
                    self._journal.add(answer)
                self._report(1)

    def _failed(self, key: str, reason: str) -> None:
        with self._lock:
            self.failures[key] = reason
            self._in_a_row += 1
            enough = self._in_a_row >= _GIVE_UP
        if enough:
            self._end(f"the endpoint gave nothing to {_GIVE_UP} questions in a row, last: {reason}")

    def _end(self, why: str) -> None:
        with self._lock:
            self.stopped = self.stopped or why

    def _answer(self, key: str, question: Question) -> Answer:
        """One question, asked until its answer has the form, or often enough. What it paid before it ends in between is written down."""
        answer = self._begun.get(key)
        for _ in range(self._settings.malformed_retries + 1 - (answer.calls if answer else 0)):
            further = correction(answer) if answer else []
            try:
                reply, cost, seconds = self._pace.tries(lambda more=further: self._once([*question.messages, *more]))  # type: ignore[misc]
            except (OutOfBudget, Stopped, Transient, Rejected):
                if answer is not None and key not in self._begun:
                    with self._lock:
                        self._journal.add(answer)
                raise
            before = Spent() if answer is None else answer.spent
            answer = answer_of(key, question.prompt, reply, self._form, cost + before, seconds)
            if answer.status != "retry":
                return answer
        assert answer is not None, "at least one try is made"
        return answer.model_copy(update={"status": "malformed"})

    def _once(self, messages: list[Message]) -> tuple[Reply, Spent, float]:
        """One request, paid for."""
        bound = most_tokens(messages)
        most = Spent(1, bound, self._settings.max_tokens, self._settings.cost(bound, self._settings.max_tokens))
        self._pace.turn(bound + self._settings.max_tokens)
        with self._budget.call(most) as charge:
            if self._pace.stopped:  # while it waited for room in the budget
                charge.pay(Spent())
                raise Stopped
            began = time.monotonic()
            try:
                reply = self._client.chat(self._settings, messages, self._schema)
            except (Rejected, ModelError):
                charge.pay(Spent(1))
                raise
            except Transient as failure:
                if failure.reason.startswith("HTTP"):  # it was turned away; of a broken connection nobody knows what it cost
                    charge.pay(Spent(1))
                raise
            was = self._paid(reply, messages)
            charge.pay(was)
        return reply, was, time.monotonic() - began

    def _paid(self, reply: Reply, messages: list[Message]) -> Spent:
        """What the endpoint says that it was; where it says nothing, four bytes are a token."""
        told = reply.prompt_tokens if reply.prompt_tokens is not None else math.ceil(prompt_bytes(messages) / 4)
        gave = reply.completion_tokens if reply.completion_tokens is not None else math.ceil(len(reply.content.encode()) / 4)
        return Spent(1, told, gave, self._settings.cost(told, gave))
