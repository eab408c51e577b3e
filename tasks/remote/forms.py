"""The form of answers: JSON that pydantic checks; how it is asked for, read, and asked for again. And what a prompt can cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tasks.remote.answers import Answer
from tasks.remote.budget import Spent
from tasks.remote.client import Message
from tasks.remote.reading import Reply

Form = TypeVar("Form", bound=BaseModel)
SHOWN = 200
_NOT_STRICT = ("default", "minLength", "maxLength", "examples")


def form_schema(form: type[BaseModel]) -> dict[str, Any]:
    """A form as a JSON schema that strict structured outputs take.

    Each object has no other fields and needs all of its own, at every level; a ``$ref`` stands alone; there are no defaults, and no bounds
    on the length of texts (pydantic still checks both). Source: OpenAI's guide to structured outputs [documentation].
    """
    return dict(_strict(form.model_json_schema()))


def _strict(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    found = {name: value for name, value in schema.items() if name not in _NOT_STRICT}
    for name in ("properties", "$defs"):
        if name in found:
            found[name] = {key: _strict(value) for key, value in found[name].items()}
    if "items" in found:
        found["items"] = _strict(found["items"])
    if "anyOf" in found:
        found["anyOf"] = [_strict(one) for one in found["anyOf"]]
    if found.get("type") == "object":
        found |= {"additionalProperties": False, "required": list(found.get("properties", {}))}
    return found


def parse(form: type[Form], reply: Reply) -> Form:
    """An answer's content in its form; a fence of back quotes around it is taken off.

    Raises:
        ValueError: why it is not.
    """
    if reply.cut:
        raise ValueError("cut off at max_tokens")
    try:
        return form.model_validate_json(bare(reply.content))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc'])) or 'answer'}: {first['msg']}"[:SHOWN]) from None


def answer_of(key: str, prompt: str, reply: Reply, form: type[BaseModel], cost: Spent, seconds: float = 0.0) -> Answer:
    """A reply as an answer to keep: ``ok``, ``refused``, or ``retry`` where it has not the wanted form.

    Args:
        key: of the answer.
        prompt: label of the prompt's file.
        reply: what the endpoint gave.
        form: that is wanted.
        cost: of all tries.
        seconds: of the try that gave it.
    """
    status, reason = ("refused", reply.refusal) if reply.refusal else ("ok", "")
    if status == "ok":
        try:
            parse(form, reply)
        except ValueError as error:
            status, reason = "retry", str(error)
    return Answer.model_validate(
        {
            "key": key,
            "prompt": prompt,
            "status": status,
            "reason": reason[:SHOWN],
            "content": reply.content,
            "model": reply.model,
            "prompt_tokens": cost.prompt_tokens,
            "completion_tokens": cost.completion_tokens,
            "money": cost.money,
            "seconds": round(seconds, 4),
            "calls": cost.calls,
            "asked": now(),
        }
    )


def now() -> str:
    """The time, in UTC."""
    return datetime.now(UTC).isoformat("T", "seconds")


def bare(content: str) -> str:
    """An answer without a fence of back quotes around it."""
    text = content.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].removeprefix("json").strip()
    return text


def most_tokens(messages: Sequence[Message], schema: Mapping[str, Any] | None = None) -> int:
    """What a prompt can have at the most: no token is shorter than a byte, and each message has a few around it.

    Args:
        messages: role and content each.
        schema: that is sent along, which endpoints count as part of the prompt.
    """
    form = len(json.dumps(schema).encode()) if schema else 0
    return prompt_bytes(messages) + 16 * len(messages) + 16 + form


def prompt_bytes(messages: Sequence[Message]) -> int:
    """Bytes of all messages."""
    return sum(len(message["content"].encode("utf-8", "surrogatepass")) for message in messages)


def correction(answer: Answer) -> list[Message]:
    """What is added to the question after a malformed answer."""
    told = f"That is not an answer in the wanted form ({answer.reason}). Answer again, with the JSON object alone."
    return [{"role": "assistant", "content": answer.content}, {"role": "user", "content": told}]
