"""The one module that speaks to endpoints, by the ``openai`` package: chat, embeddings, and plain JSON posts."""

from __future__ import annotations

import base64
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.remote.body import request_body
from tasks.remote.pace import Transient
from tasks.remote.reading import Reply, Unreadable, counted, field, no_json, reply_from, reply_of, text
from tasks.remote.refused import refusal_of
from tasks.remote.settings import ChatSettings, EndpointSettings

Message = dict[str, str]
Result = TypeVar("Result")
_PASSING = (408, 409, 429)


class Rejected(Exception):
    """The endpoint will not take this request (400, 413, 422): asking again would not help.

    ``about_content``: by its own words because of what is in it (too long, a content filter), so that others may be taken.
    """

    def __init__(self, reason: str, about_content: bool = False) -> None:
        super().__init__(reason)
        self.about_content = about_content


class Client:
    """A connection to an endpoint. It tries once; :class:`tasks.remote.pace.Pace` tries again.

    Raises:
        UsageError: the key's environment variable is not set.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        import openai

        self.settings = settings
        self._key = settings.key()
        self._client = openai.OpenAI(
            base_url=settings.url,
            api_key=self._key or "none",
            admin_api_key="",
            max_retries=0,
            timeout=settings.timeout,
            default_headers=_headers(self._key),
        )
        self._own: dict[str, Any] = {} if self._key else {"Authorization": openai.Omit()}  # said again with each request

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
            ModelError: no request will be (wrong key, unknown model or address, a setting that the model does not take).
        """
        given = request_body(settings, messages, schema)
        once = self._streamed if settings.stream else self._whole
        reply = self._try(lambda: once(given))
        return replace(reply, content=self._without_key(reply.content), refusal=self._without_key(reply.refusal))

    def embeddings(self, model: str, texts: Sequence[str]) -> tuple[NDArray[np.float32], int | None, str]:
        """Vectors, float32, shape (n, dim), tokens where they are told, and the model as the endpoint names it.

        Raises:
            As :meth:`chat`.
        """
        answer: Any = self._try(
            lambda: self._client.post(
                "/embeddings",
                cast_to=object,
                body={"model": model, "input": list(texts), "encoding_format": "float"},
                options={"headers": self._own},
            )
        )
        if not isinstance(answer, dict):
            raise Transient(no_json(answer))
        rows = answer.get("data")
        if not isinstance(rows, list) or len(rows) != len(texts) or not all(isinstance(row, dict) for row in rows):
            raise Transient(f"{len(rows) if isinstance(rows, list) else 'no'} vectors for {len(texts)} texts")
        ordered = sorted(rows, key=lambda row: row["index"]) if all(isinstance(row.get("index"), int) for row in rows) else rows
        told = counted(answer.get("usage"))[0]
        return _matrix([row.get("embedding") for row in ordered]), told, str(answer.get("model") or "")

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Any other JSON post, such as text-embeddings-inference's ``/embed`` and ``/rerank``. Raises as :meth:`chat`."""
        return self._try(lambda: self._client.post(path, cast_to=object, body=body, options={"headers": self._own}))

    def get(self, path: str) -> Any:
        """A JSON document, such as text-embeddings-inference's ``/info``. Raises as :meth:`chat`."""
        return self._try(lambda: self._client.get(path, cast_to=object, options={"headers": self._own}))

    def _whole(self, given: dict[str, Any]) -> Reply:
        return reply_from(self._client.chat.completions.create(**given, extra_headers=self._own))

    def _streamed(self, given: dict[str, Any]) -> Reply:
        pieces, refusal, finish, model, usage = [], [], None, "", None
        with self._client.chat.completions.create(
            **given, stream=True, stream_options={"include_usage": True}, extra_headers=self._own
        ) as stream:
            for chunk in stream:
                model, usage = field(chunk, "model") or model, field(chunk, "usage") or usage
                choices = field(chunk, "choices")
                for choice in choices[:1] if isinstance(choices, list) else ():
                    delta = field(choice, "delta")
                    pieces.append(text(field(delta, "content")))
                    refusal.append(text(field(delta, "refusal")))
                    finish = field(choice, "finish_reason") or finish
        if finish is None:
            raise Transient("the stream was cut, or was none")
        return reply_of("".join(pieces), "".join(refusal), text(finish), text(model), *counted(usage))

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
            told = self._of_status(error.status_code, error.response.headers, str(error.code or ""), error.body)
            raise told from (None if self._key and self._key in str(error) else error)
        except Unreadable as error:
            raise Transient(str(error)) from None
        except (openai.APIError, httpx2.HTTPError, ValueError) as error:  # cut bodies and streams, errors within a stream, no JSON
            raise Transient(f"broken answer ({type(error).__name__})") from error

    def _of_status(self, status: int, headers: Any, code: str, body: Any) -> Exception:
        if code == "insufficient_quota":
            return ModelError(f"{self.settings.url} says that the account has no quota left (429)", "raise it there, then run again")
        if status in _PASSING or status >= 500:
            return Transient(f"HTTP {status}", _retry_after(headers))
        if status in (400, 413, 422):
            refusal = refusal_of(status, self._keyless(body))
            if refusal.mend:
                return ModelError(f"{self.settings.url} answers {refusal.reason}", refusal.mend)
            return Rejected(refusal.reason, refusal.about_content)
        name = self.settings.key_variable
        mend = {
            401: f"check the key in {name}" if name else "name the environment variable that holds its key: key_from",
            403: f"check what the key in {name} may do" if name else "name the environment variable that holds its key: key_from",
        }
        return ModelError(f"{self.settings.url} answers HTTP {status}", mend.get(status, "check url and model"))

    def _keyless(self, given: Any) -> Any:
        """An error's body without the key, before any text of it is cut short: half a key is one too many."""
        if isinstance(given, dict):
            return {self._keyless(name): self._keyless(value) for name, value in given.items()}
        if isinstance(given, list):
            return [self._keyless(one) for one in given]
        return self._without_key(given) if isinstance(given, str) else given

    def _without_key(self, text: str) -> str:
        """What a server wrote, without the key, if it is in there."""
        return text.replace(self._key, "…") if self._key else text


def _headers(key: str) -> dict[str, Any]:
    """Headers of all requests: the key alone. What else the environment holds for OpenAI (OPENAI_CUSTOM_HEADERS …) stays here."""
    import openai

    own = [line.partition(":")[0].strip() for line in os.environ.get("OPENAI_CUSTOM_HEADERS", "").split("\n") if ":" in line]
    left_out = dict.fromkeys([*own, "OpenAI-Organization", "OpenAI-Project", "Authorization"], openai.Omit())
    return {**left_out, "Authorization": f"Bearer {key}"} if key else dict(left_out)


def _matrix(rows: Sequence[Any]) -> NDArray[np.float32]:
    try:
        vectors = [np.frombuffer(base64.b64decode(row), "<f4") if isinstance(row, str) else np.asarray(row, np.float32) for row in rows]
    except (TypeError, ValueError) as error:
        raise Transient("vectors that are no numbers") from error
    if len({vector.shape for vector in vectors}) > 1 or any(vector.ndim != 1 or not len(vector) for vector in vectors):
        raise Transient("vectors of several dimensions, or none")
    if not all(np.isfinite(vector).all() for vector in vectors):
        raise Transient("vectors with values that are no numbers")
    return np.stack(vectors) if vectors else np.empty((0, 0), dtype=np.float32)


def _retry_after(headers: Any) -> float | None:
    """Seconds of a Retry-After header, in either of its forms."""
    value = headers.get("retry-after")
    if not value:
        return None
    try:
        seconds = float(value)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None
