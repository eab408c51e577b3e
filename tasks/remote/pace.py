"""How fast an endpoint is asked: limits a minute, pauses that it asks for, tries and waits between them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tasks.remote.settings import EndpointSettings

Result = TypeVar("Result")
_LONGEST = 60.0


class Transient(Exception):
    """A failure that may pass: 408, 409, 429, 5xx, a timeout, a broken connection, a body that is no JSON.

    Args:
        reason: in a few words.
        wait: seconds that the endpoint asks to wait (Retry-After); ``None``: it does not say.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class Stopped(Exception):
    """The run ends: what has not begun does not begin."""


class Pace:
    """Shared by all threads that ask one endpoint."""

    def __init__(self, settings: EndpointSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._requests = _Bucket(settings.requests_per_minute)
        self._tokens = _Bucket(settings.tokens_per_minute)
        self._not_before = 0.0

    def stop(self) -> None:
        """Let nobody begin or wait any longer."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether the run ended."""
        return self._stop.is_set()

    def turn(self, tokens: int = 0) -> None:
        """Wait until a request may be sent.

        Args:
            tokens: that it will take, as far as is known.

        Raises:
            Stopped: the run ended meanwhile.
        """
        with self._lock:
            now = time.monotonic()
            at = max(self._requests.take(1, now), self._tokens.take(tokens, now))
        while (wait := max(at, self._pause()) - time.monotonic()) > 0:  # a pause that is asked for meanwhile holds those who wait too
            self._sleep(wait)
        self._sleep(0.0)

    def settle(self, tokens: int) -> None:
        """Say how many tokens more a request took than it was let through for; less than nothing: fewer."""
        with self._lock:
            self._tokens.correct(tokens)

    def tries(self, once: Callable[[], Result]) -> Result:
        """Call until it succeeds or the retries are used up; where the endpoint asks for a pause, all threads keep to it.

        Raises:
            Transient: the last failure.
            Stopped: the run ended meanwhile.
        """
        for number in range(self.settings.retries + 1):
            try:
                return once()
            except Transient as failure:
                if number == self.settings.retries:
                    raise
                own = min(_LONGEST, self.settings.backoff * 2**number) * random.uniform(0.5, 1.0)
                if failure.wait is not None:
                    with self._lock:
                        self._not_before = max(self._not_before, time.monotonic() + failure.wait)
                self._sleep(max(own, failure.wait or 0.0))
        raise AssertionError("unreachable")

    def _pause(self) -> float:
        with self._lock:
            return self._not_before

    def _sleep(self, seconds: float) -> None:
        if self._stop.wait(max(0.0, seconds)):
            raise Stopped


class _Bucket:
    """So many a minute, evenly; up to a second's worth at once."""

    def __init__(self, per_minute: int | None) -> None:
        self._rate = per_minute / 60 if per_minute else None
        self._full_at = 0.0

    def take(self, amount: int, now: float) -> float:
        """When that much may be taken."""
        if self._rate is None or not amount:
            return now
        at = max(now, self._full_at - 1.0)
        self._full_at = max(self._full_at, now) + amount / self._rate
        return at

    def correct(self, amount: int) -> None:
        """Take so much more after all, or give it back."""
        if self._rate is not None:
            self._full_at += amount / self._rate
