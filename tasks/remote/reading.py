"""A chat endpoint's answer, read: from the ``openai`` package's objects or from plain JSON, in whatever shape it came."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class Unreadable(Exception):
    """What came is no chat completion; why, in a few words."""


@dataclass(frozen=True)
class Reply:
    """What a chat endpoint gave.

    ``refusal``: why it gave nothing, in the model's or filter's words; ``cut``: the answer ended at max_tokens. Counts of tokens are
    ``None`` where the endpoint does not say.
    """

    content: str
    model: str
    refusal: str = ""
    cut: bool = False
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


def reply_from(completion: Any) -> Reply:
    """An answer that came in one piece. One without a message is empty, which is paid for like others.

    Args:
        completion: an object or mapping with ``choices``, ``usage`` and ``model``.

    Raises:
        Unreadable: it is none: a page of HTML, an error, nothing.
    """
    if isinstance(completion, str):
        raise Unreadable(no_json(completion))
    choices = field(completion, "choices")
    if not isinstance(choices, list) or not choices:
        raise Unreadable("an answer without choices")
    message, finish = field(choices[0], "message"), text(field(choices[0], "finish_reason"))
    content, refusal = (text(field(message, name)) for name in ("content", "refusal"))
    return reply_of(content, refusal, finish, text(field(completion, "model")), *counted(field(completion, "usage")))


def reply_of(content: str, refusal: str, finish: str, model: str, told: int | None, gave: int | None) -> Reply:
    """What a chat endpoint gave, from the fields of its answer; ``told``, ``gave``: tokens of the prompt and of the answer."""
    return Reply(
        content=content,
        model=model,
        refusal=refusal or ("content filter" if finish == "content_filter" else ""),
        cut=finish == "length",
        prompt_tokens=told,
        completion_tokens=gave,
    )


def field(given: Any, name: str) -> Any:
    """A field of what came; ``None``: it has no such field, or is nothing that has fields.

    >>> field({"a": 1}, "a"), field("text", "a"), field(None, "a")
    (1, None, None)
    """
    return given.get(name) if isinstance(given, dict) else getattr(given, name, None)


def text(given: Any) -> str:
    r"""A text that UTF-8 can hold (JSON may name halves of characters); of a list of parts their texts; of anything else none.

    >>> text("a\ud800"), text([{"type": "text", "text": "b"}]), text(3)
    ('a?', 'b', '')
    """
    if isinstance(given, list):
        return "".join(text(field(part, "text")) for part in given)
    return given.encode("utf-8", "replace").decode("utf-8") if isinstance(given, str) else ""


def counted(usage: Any) -> tuple[int | None, int | None]:
    """Tokens of the prompt and of the answer, as far as they are told."""
    told, gave = (field(usage, name) for name in ("prompt_tokens", "completion_tokens"))
    return _count(told), _count(gave)


def _count(given: Any) -> int | None:
    return given if isinstance(given, int) and 0 <= given < 2**53 else None


def no_json(given: Any) -> str:
    """Why something that came with status 200 is no answer."""
    kind = "HTML" if isinstance(given, str) and given.lstrip()[:1] == "<" else "no JSON object"
    return f"an answer that is {kind}: does the url end where the API begins, as in …/v1?"
