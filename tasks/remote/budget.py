"""A budget that is held: each call reserves the most that it can cost, and pays what it did cost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tasks.remote.settings import BudgetSettings


@dataclass(frozen=True)
class Spent:
    """What was spent: requests, tokens (of prompts, of answers) and money."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    money: float = 0.0

    @property
    def tokens(self) -> int:
        """Of prompts and answers."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.money + other.money,
        )

    def __sub__(self, other: Spent) -> Spent:
        return self + Spent(-other.calls, -other.prompt_tokens, -other.completion_tokens, -other.money)


class OutOfBudget(Exception):
    """The next call does not fit; ``limit`` names what ran out."""

    def __init__(self, limit: str) -> None:
        super().__init__(limit)
        self.limit = limit


class Charge:
    """One call's place in the budget: holds ``most`` until it is told what it was."""

    def __init__(self, most: Spent) -> None:
        self.was = most  # whoever says nothing (a broken connection) pays the most

    def pay(self, spent: Spent) -> None:
        """Say what the call cost."""
        self.was = spent


class Budget:
    """A budget that threads share. Spent and reserved together never pass a limit, as long as no call costs more than it reserved."""

    def __init__(self, settings: BudgetSettings | None = None) -> None:
        self.settings = settings or BudgetSettings()
        self.spent = Spent()
        self._reserved = Spent()
        self._open = 0
        self._moved = threading.Condition()

    @contextmanager
    def call(self, most: Spent) -> Iterator[Charge]:
        """Reserve for one call; wait while calls in flight may still cost less than they hold.

        Args:
            most: what it can cost at the most.

        Raises:
            OutOfBudget: it does not fit, and nothing is in flight that could make room.
        """
        self._reserve(most)
        charge = Charge(most)
        try:
            yield charge
        finally:
            with self._moved:
                self.spent += charge.was
                self._reserved -= most
                self._open -= 1
                self._moved.notify_all()

    def _reserve(self, most: Spent) -> None:
        with self._moved:
            while (limit := self._passed(self.spent + self._reserved + most)) is not None:
                if not self._open or self._passed(self.spent + most) is not None:
                    raise OutOfBudget(limit)
                self._moved.wait()
            self._reserved += most
            self._open += 1

    def _passed(self, total: Spent) -> str | None:
        """The limit that a total would pass."""
        slack = 1e-9 * (1 + total.money)  # reservations of money are added and taken back
        for name, value, limit in (
            ("calls", total.calls, self.settings.calls),
            ("tokens", total.tokens, self.settings.tokens),
            ("money", total.money - slack, self.settings.money),
        ):
            if limit is not None and value > limit:
                return name
        return None
