"""The base of all settings, and pydantic's errors in a user's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from tasks.errors import nearest

Location = tuple[str | int, ...]
SECRET = "secret"  #: type of a complaint whose input must not be shown


class Settings(BaseModel):
    """Frozen settings that refuse unknown keys with the nearest valid name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_names(cls, values: Any) -> Any:
        if isinstance(values, Mapping):
            unknown = [name for name in values if name not in cls.model_fields]
            if unknown:
                raise PydanticCustomError(
                    "unknown_setting",
                    "there is no setting '{name}' here: {nearest}",
                    {"name": str(unknown[0]), "nearest": nearest(str(unknown[0]), cls.model_fields)},
                )
        return values


def explain(error: ValidationError, prefix: str = "", lines: Mapping[Location, int] | None = None, file: str = "") -> tuple[str, str]:
    """What is wrong and how to mend it, from the first few of pydantic's complaints.

    Args:
        error: what pydantic raised.
        prefix: the field under which these settings lie.
        lines: line numbers by location in the file.
        file: the file's name.

    Returns:
        (message, mend) for :class:`tasks.errors.UsageError`.
    """
    messages = []
    for detail in error.errors()[:5]:
        location = (*((prefix,) if prefix else ()), *detail["loc"])
        if detail["type"] == "unknown_setting":
            location = (*location, detail["ctx"]["name"])
        line = _line_of(location, lines or {})
        where = f"{file}:{line}: " if file and line else (f"{file}: " if file else "")
        messages.append(f"{where}{'.'.join(map(str, location)) or 'settings'}: {_plain(detail)}")
    return "\n".join(messages), "correct the setting and run again; nothing was run"


def _plain(detail: ErrorDetails) -> str:
    text = str(detail["msg"]).removeprefix("Value error, ")
    given = detail.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) and detail["type"] != SECRET else ""
    return text[0].lower() + text[1:] + shown


def _line_of(location: Location, lines: Mapping[Location, int]) -> int | None:
    for length in range(len(location), 0, -1):
        if location[:length] in lines:
            return lines[location[:length]]
    return None
