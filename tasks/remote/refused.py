"""What a 400, 413 or 422 means: this one request, a setting, or nobody knows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_CODES = {
    "context_length_exceeded", "string_above_max_length", "request_too_large", "exceed_context_size_error", "content_filter",
    "content_policy_violation", "responsibleaipolicyviolation", "invalid_prompt", "moderation_blocked", "data_inspection_failed",
}  # fmt: skip
#: what servers without such codes write of one request's content: too long, or filtered
_CONTENT = re.compile(
    r"context[ _-]?(length|window|size)|maximum (input|sequence|model) length|(prompt|input|request|message)s?\b.{0,40}\btoo (long|large)"
    r"|must have less than \d+ tokens|exceeds? .{0,60}\btokens|content (filter|polic|management)|flagged by|safety system|moderation",
    re.IGNORECASE | re.DOTALL,
)
#: of a field that a server does not take: the setting to change
_MENDS = {
    "temperature": "leave temperature out: this model takes none, or not this one",
    "max_tokens": "set limit_field: max_completion_tokens, or a smaller max_tokens",
    "max_completion_tokens": "set limit_field: max_tokens, or a smaller max_tokens",
    "reasoning_effort": "leave reasoning_effort out, or take a value that this model has",
    "seed": "leave seed out",
    "response_format": "set json_mode: object, or none: this endpoint takes no JSON schema, or not this one",
    "stream_options": "set stream: false",
    "stream": "set stream: false",
}
_FIELD = re.compile(r"(?:[\"'`.]|\bfor )(" + "|".join(sorted(_MENDS, key=len, reverse=True)) + r")\b")
_UNFIT = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|not (permitted|allowed)|invalid|extra (inputs|fields)|too large",
    re.IGNORECASE,
)
_LONGEST = 160


@dataclass(frozen=True)
class Refusal:
    """Why a request was not taken.

    Args:
        reason: in a few words, for people.
        about_content: it is the request's content (too long, filtered): others may be taken.
        mend: the setting to change; empty: it is not one.
    """

    reason: str
    about_content: bool = False
    mend: str = ""


def refusal_of(status: int, body: Any) -> Refusal:
    """Read an error's body, of any server.

    Args:
        status: 400, 413 or 422.
        body: JSON as it came, in OpenAI's form (``error`` taken off or not), FastAPI's, or anything else.

    >>> refusal_of(400, {"message": "Unsupported parameter: 'max_tokens'", "param": "max_tokens", "code": "unsupported_parameter"}).mend
    'set limit_field: max_completion_tokens, or a smaller max_tokens'
    >>> refusal_of(400, {"message": "maximum context length is 8192 tokens", "code": "context_length_exceeded"})
    Refusal(reason='HTTP 400 (context_length_exceeded): maximum context length is 8192 tokens', about_content=True, mend='')
    """
    fields = body.get("error", body) if isinstance(body, Mapping) else {}
    fields = fields if isinstance(fields, Mapping) else {"message": fields}
    code, param = (str(fields.get(name) or "") for name in ("code", "param"))
    inner = fields.get("innererror")
    inner_code = str(inner.get("code") or "") if isinstance(inner, Mapping) else ""
    message = str(fields.get("message") or "") or _text(body)
    shown = "".join([f"HTTP {status}", f" ({code})" if code and code != str(status) else "", f": {message}" if message else ""])
    reason = " ".join(shown.split())
    reason = reason if len(reason) <= _LONGEST else f"{reason[: _LONGEST - 1]}…"
    kinds = {code.lower(), inner_code.lower(), str(fields.get("type") or "").lower()}
    if status == 413 or kinds & _CODES or _CONTENT.search(message):
        return Refusal(reason, about_content=True)
    return Refusal(reason, mend=_MENDS.get(_field(param, message), ""))


def _field(param: str, message: str) -> str:
    """The field of the request that is not taken; empty: none is named."""
    own = param.split(".")[0].split("[")[0]
    if own in _MENDS:
        return own
    head = message[:_LONGEST]  # what comes later may be the request, repeated
    found = _FIELD.search(head) if _UNFIT.search(head) else None
    return found.group(1) if found else ""


def _text(body: Any) -> str:
    """A body without a message of its own: FastAPI's ``detail`` (places and messages, without what was sent), or whatever it is."""
    detail = body.get("detail") if isinstance(body, Mapping) else None
    if isinstance(detail, list):
        return "; ".join(f"{'.'.join(map(str, one.get('loc') or ()))}: {one.get('msg')}" for one in detail if isinstance(one, Mapping))
    return str(detail or body or "")
