"""The one module that speaks to endpoints, by the ``openai`` package: chat, embeddings, and plain JSON posts."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.remote.body import request_body
from tasks.remote.pace import Transient
from tasks.remote.settings import ChatSettings, EndpointSettings

Message = dict[str, str]
Result = TypeVar("Result")
_PASSING = (408, 409, 429)


class Rejected(Exception):
    """The endpoint will not take this one request (400, 413, 422): asking again would not help."""


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


class Client:
    """A connection to an endpoint. It tries once; :class:`tasks.remote.pace.Pace` tries again.

    Raises:
        UsageError: the key's environment variable is not set.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        import openai

        self.settings = settings
        self._client = openai.OpenAI(
            base_url=settings.url, api_key=settings.key() or "none", max_retries=0, timeout=settings.timeout, organization="", project=""
        )

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def chat(self, settings: ChatSettings, messages: Sequence[Message], schema: dict[str, Any]) -> Reply:
        """One answer.

        Args:
            settings: model and parameters.
            messages: role and content each.
            schema: JSON schema that the answer should have; its ``title`` is its name.

        Raises:
            Transient: worth another try.
            Rejected: this request will never be taken.
            ModelError: no request will be (wrong key, unknown model or address).
        """
        given = request_body(settings, messages, schema)
        if settings.stream:
            return self._try(lambda: self._streamed(given))
        return self._try(lambda: _reply(self._client.chat.completions.create(**given)))

    def embeddings(self, model: str, texts: Sequence[str]) -> tuple[NDArray[np.float32], int | None, str]:
        """Vectors, float32, shape (n, dim), tokens where they are told, and the model as the endpoint names it.

        Raises:
            As :meth:`chat`.
        """
        answer: Any = self._try(
            lambda: self._client.post(
                "/embeddings", cast_to=object, body={"model": model, "input": list(texts), "encoding_format": "float"}
            )
        )
        rows = _field(answer, "data")
        if not isinstance(rows, list) or len(rows) != len(texts):
            raise Transient(f"{len(rows) if isinstance(rows, list) else 'no'} vectors for {len(texts)} texts")
        ordered = sorted(rows, key=lambda row: int(row.get("index", 0))) if all("index" in row for row in rows) else rows
        usage = answer.get("usage") or {}
        return _matrix([row.get("embedding") for row in ordered]), usage.get("prompt_tokens"), str(answer.get("model") or "")

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Any other JSON post, such as text-embeddings-inference's ``/embed`` and ``/rerank``. Raises as :meth:`chat`."""
        return self._try(lambda: self._client.post(path, cast_to=object, body=body))

    def get(self, path: str) -> Any:
        """A JSON document, such as text-embeddings-inference's ``/info``. Raises as :meth:`chat`."""
        return self._try(lambda: self._client.get(path, cast_to=object))

    def _streamed(self, given: dict[str, Any]) -> Reply:
        pieces, refusal, finish, model, usage = [], [], None, "", None
        with self._client.chat.completions.create(**given, stream=True, stream_options={"include_usage": True}) as stream:
            for chunk in stream:
                model, usage = chunk.model or model, chunk.usage or usage
                for choice in chunk.choices[:1]:
                    pieces.append(choice.delta.content or "")
                    refusal.append(choice.delta.refusal or "")
                    finish = choice.finish_reason or finish
        if finish is None:
            raise Transient("the stream was cut")
        return reply_of("".join(pieces), "".join(refusal), finish, model, *_counted(usage))

    def _try(self, once: Callable[[], Result]) -> Result:
        """Call, with the library's errors in our words. None of them shows the key."""
        import httpx2
        import openai

        try:
            return once()
        except openai.APITimeoutError as error:
            raise Transient("timeout") from error
        except openai.APIConnectionError as error:
            raise Transient(f"no connection ({type(error.__cause__ or error).__name__})") from error
        except openai.APIStatusError as error:
            raise self._of_status(error.status_code, error.response.headers, str(error.code or "")) from error
        except (openai.APIError, httpx2.HTTPError, ValueError) as error:  # cut bodies and streams, errors within a stream, no JSON
            raise Transient(f"broken answer ({type(error).__name__})") from error

    def _of_status(self, status: int, headers: Any, code: str) -> Exception:
        if code == "insufficient_quota":
            return ModelError(f"{self.settings.url} says that the account has no quota left (429)", "raise it there, then run again")
        if status in _PASSING or status >= 500:
            return Transient(f"HTTP {status}", _retry_after(headers))
        if status in (400, 413, 422):
            return Rejected(f"HTTP {status}{f' ({code})' if code else ''}")
        mend = {
            401: f"check the key in {self.settings.key_from or 'key_from'}",
            403: f"check what the key in {self.settings.key_from} may do",
        }
        return ModelError(f"{self.settings.url} answers HTTP {status}", mend.get(status, "check url and model"))


def _reply(completion: Any) -> Reply:
    if not completion.choices:
        raise Transient("an answer without choices")
    choice, (told, gave) = completion.choices[0], _counted(completion.usage)
    return reply_of(choice.message.content or "", choice.message.refusal or "", choice.finish_reason, completion.model, told, gave)


def reply_of(content: str, refusal: str, finish: str | None, model: str, told: int | None, gave: int | None) -> Reply:
    """What a chat endpoint gave, from the fields of its answer; ``told``, ``gave``: tokens of the prompt and of the answer."""
    return Reply(
        content=content,
        model=model or "",
        refusal=refusal or ("content filter" if finish == "content_filter" else ""),
        cut=finish == "length",
        prompt_tokens=told,
        completion_tokens=gave,
    )


def _counted(usage: Any) -> tuple[int | None, int | None]:
    return (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)


def _matrix(rows: Sequence[Any]) -> NDArray[np.float32]:
    vectors = [np.frombuffer(base64.b64decode(row), "<f4") if isinstance(row, str) else np.asarray(row, dtype=np.float32) for row in rows]
    if len({vector.shape for vector in vectors}) > 1 or any(vector.ndim != 1 or not len(vector) for vector in vectors):
        raise Transient("vectors of several dimensions, or none")
    return np.stack(vectors) if vectors else np.empty((0, 0), dtype=np.float32)


def _field(answer: Any, name: str) -> Any:
    if not isinstance(answer, dict):
        raise Transient("an answer that is no JSON object")
    return answer.get(name)


def _retry_after(headers: Any) -> float | None:
    """Seconds of a Retry-After header, in either of its forms."""
    value = headers.get("retry-after")
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
