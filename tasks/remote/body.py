"""What a chat endpoint is sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tasks.remote.settings import ChatSettings


def request_body(settings: ChatSettings, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON that a chat endpoint is sent for one answer."""
    given: dict[str, Any] = {"model": settings.model, "messages": [dict(one) for one in messages]}
    given[settings.limit_name] = settings.max_tokens
    given |= {} if settings.temperature is None else {"temperature": settings.temperature}
    given |= {} if settings.reasoning_effort is None else {"reasoning_effort": settings.reasoning_effort}
    given |= {} if settings.seed is None else {"seed": settings.seed}
    if settings.json_mode == "schema":
        wanted = {"name": str(schema.get("title", "answer")), "schema": dict(schema), "strict": True}
        given["response_format"] = {"type": "json_schema", "json_schema": wanted}
    elif settings.json_mode == "object":
        given["response_format"] = {"type": "json_object"}
    return given
