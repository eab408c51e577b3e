"""One asking: threads that take questions from one queue, pace, budget, retries, and what is set aside."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic

from tasks.errors import ModelError
from tasks.remote.answers import Answer
from tasks.remote.budget import Budget, OutOfBudget, Spent
from tasks.remote.client import Client, Message, Rejected
from tasks.remote.forms import SHOWN, Form, answer_of, correction, form_schema, most_tokens, now, prompt_bytes
from tasks.remote.journal import Journal
from tasks.remote.pace import Pace, Stopped, Transient
from tasks.remote.reading import Reply
from tasks.remote.settings import ChatSettings
from tasks.store.storage import Storage

if TYPE_CHECKING:
    from tasks.remote.ask import Question

_GIVE_UP = 10  # questions in a row to which the endpoint gave nothing


class Run(Generic[Form]):
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
        self.found: dict[str, Answer] = {}
        self.failures: dict[str, str] = {}
        self.stopped = ""
        self.works = False  # the endpoint has answered such questions: one that it does not take is at fault itself
        self._settings, self._form, self._schema, self._budget, self._report = settings, form, form_schema(form), budget, report
        self._client, self._pace = Client(settings), Pace(settings)
        self._journal = Journal(storage, store)
        self._lock = threading.Lock()
        self._in_a_row = 0
        self._fatal: BaseException | None = None

    def all(self, todo: dict[str, Question]) -> None:
        """Ask; whatever happens, what was answered is kept, and in ``found``."""
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
            except Transient as failure:
                with self._lock:
                    self.failures[key] = str(failure)
                self._nothing(f"the endpoint gave nothing to {_GIVE_UP} questions in a row, last: {failure}")
            except Rejected as refusal:
                self._rejected(key, question, refusal)
            except BaseException as error:
                with self._lock:
                    self._fatal = self._fatal or error
                self._pace.stop()
                return
            else:
                with self._lock:
                    self._in_a_row, self.works = 0, True
                self._keep(answer)

    def _keep(self, answer: Answer) -> None:
        with self._lock:
            self.found[answer.key] = answer
            self._journal.add(answer)
        self._report(1)

    def _rejected(self, key: str, question: Question, refusal: Rejected) -> None:
        """Set a question aside. It is remembered if it is at fault: the endpoint says so, or has answered others."""
        at_fault = refusal.about_content or self.works
        if at_fault:
            self._keep(Answer(key=key, prompt=question.prompt, status="rejected", reason=str(refusal)[:SHOWN], calls=1, asked=now()))
        else:
            with self._lock:
                self.failures[key] = str(refusal)
        if not (refusal.about_content and self.works):
            set_aside = "; they are set aside, and asked again with ask_rejected: true" if at_fault else ""
            self._nothing(f"the endpoint took none of {_GIVE_UP} questions in a row, last: {refusal}{set_aside}")

    def _nothing(self, why: str) -> None:
        """One question more in a row to which nothing came; enough of them end the run."""
        with self._lock:
            self._in_a_row += 1
            enough = self._in_a_row >= _GIVE_UP
        if enough:
            self._end(why)

    def _end(self, why: str) -> None:
        with self._lock:
            self.stopped = self.stopped or why

    def _answer(self, key: str, question: Question) -> Answer:
        """One question, asked until its answer has the form, or often enough. A malformed one is written down before it is asked again."""
        answer = self._begun.get(key)
        for _ in range(self._settings.malformed_retries + 1 - (answer.calls if answer else 0)):
            further = correction(answer) if answer else []
            try:
                reply, cost, seconds = self._pace.tries(lambda more=further: self._once([*question.messages, *more]))  # type: ignore[misc]
            except Rejected as refusal:
                if answer is None:
                    raise
                if not refusal.about_content:  # the question was taken before: it is not at fault
                    raise Transient(str(refusal)) from None
                why = f"{answer.reason}; asked again it is not taken: {refusal}"  # with the malformed answer in it
                return answer.model_copy(update={"status": "malformed", "reason": why[:SHOWN]})
            before = Spent() if answer is None else answer.spent
            answer = answer_of(key, question.prompt, reply, self._form, cost + before, seconds)
            if answer.status != "retry":
                return answer
            with self._lock:
                self._journal.add(answer)
        assert answer is not None, "at least one try is made"
        return answer.model_copy(update={"status": "malformed"})

    def _once(self, messages: list[Message]) -> tuple[Reply, Spent, float]:
        """One request, paid for."""
        bound = most_tokens(messages, self._schema if self._settings.json_mode == "schema" else None)
        most = Spent(1, bound, self._settings.max_tokens, self._settings.cost(bound, self._settings.max_tokens))
        self._pace.turn(most.tokens)
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
            self._pace.settle(was.tokens - most.tokens)
        return reply, was, time.monotonic() - began

    def _paid(self, reply: Reply, messages: list[Message]) -> Spent:
        """What the endpoint says that it was; where it says nothing, four bytes are a token."""
        told = reply.prompt_tokens if reply.prompt_tokens is not None else math.ceil(prompt_bytes(messages) / 4)
        gave = reply.completion_tokens if reply.completion_tokens is not None else math.ceil(len(reply.content.encode()) / 4)
        return Spent(1, told, gave, self._settings.cost(told, gave))
