"""The errors that a user sees: each says what is wrong, where, and how to mend it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HardmineError(Exception):
    """A failure that is explained to the user without a traceback.

    Args:
        message: what is wrong, naming the file, line or field.
        mend: what the user can do about it.
    """

    exit_code = 1

    def __init__(self, message: str, mend: str = "") -> None:
        super().__init__(message, mend)
        self.message = message
        self.mend = mend

    def __str__(self) -> str:
        return f"{self.message}\n  mend: {self.mend}" if self.mend else self.message


class UsageError(HardmineError):
    """The command, a setting or a name is wrong; nothing was run."""

    exit_code = 2


class InputError(HardmineError):
    """The user's data cannot be read as asked."""


class ModelError(HardmineError):
    """A model is missing, broken, or gives scores that cannot be used."""


class StorageError(HardmineError):
    """The storage root cannot be read or written."""


class GateError(HardmineError):
    """A round failed the release gate and was not published."""


def nearest(name: str, known: Iterable[str]) -> str:
    """``did you mean …`` for a misspelt name, or the list of what there is."""
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(options)}"
