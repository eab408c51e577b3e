"""What a user says about an endpoint, and about what may be spent on it."""

from __future__ import annotations

import os
import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from tasks.errors import UsageError
from tasks.settings import SECRET, Settings

_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
_OPENAI, _OPENAI_KEY = "api.openai.com", "OPENAI_API_KEY"


class EndpointSettings(Settings):
    """Where a model is served, and how hard it may be asked."""

    url: str = Field(description="Base URL, as in https://api.openai.com/v1 or http://localhost:8080.")
    key_from: str | None = Field(
        None,
        description="Environment variable that holds the key; empty: none is sent. Not given: OPENAI_API_KEY for https://api.openai.com, "
        "and none for any other address. A key itself is never a setting.",
    )
    concurrency: int = Field(8, ge=1, le=256, description="Requests at once.")
    requests_per_minute: int | None = Field(None, ge=1, description="Most requests a minute; none: no limit of our own.")
    tokens_per_minute: int | None = Field(
        None, ge=1, description="Most tokens a minute, as far as they are known; none: no limit of our own."
    )
    timeout: float = Field(60.0, gt=0, le=3600, description="Seconds to wait for an answer.")
    retries: int = Field(6, ge=0, le=100, description="Further tries after 408, 409, 429, 5xx, a timeout or a broken connection.")
    backoff: float = Field(
        0.5, ge=0, le=60, description="Seconds before the first retry, doubled each time, to 60; Retry-After is kept to."
    )

    @field_validator("url")
    @classmethod
    def _is_a_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.username or parts.password or parts.query:
            raise PydanticCustomError(SECRET, "must hold no user, password or query: keys come from the environment (key_from)")
        try:
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:  # a port that is no number
            usable = False
        if not usable:
            raise ValueError("is not an http or https URL, as in https://api.openai.com/v1")
        return value.rstrip("/")

    @field_validator("key_from")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value and not _VARIABLE.fullmatch(value):  # whatever was given may be a key: it is not shown
            raise PydanticCustomError(SECRET, "must be the NAME of an environment variable, as in OPENAI_API_KEY, not the key")
        return value

    @property
    def at_openai(self) -> bool:
        """Whether it is OpenAI's own address, by https."""
        parts = urlsplit(self.url)
        return parts.scheme == "https" and parts.hostname == _OPENAI and parts.port in (None, 443)

    @property
    def key_variable(self) -> str:
        """The environment variable of the key; empty: no key is sent. A key that was not named for an address goes to OpenAI's alone."""
        if self.key_from is not None:
            return self.key_from
        return _OPENAI_KEY if self.at_openai else ""

    def key(self) -> str:
        """The key, from the environment; empty: none is sent.

        Raises:
            UsageError: the variable is not set, or what it holds can be in no header.
        """
        name = self.key_variable
        found = os.environ.get(name, "").strip() if name else ""
        if name and not found:
            raise UsageError(
                f"{self.url}: the environment variable {name} is not set", f"export {name}=…, or set key_from: '' to send none"
            )
        if not (found.isascii() and found.isprintable()):
            raise UsageError(f"{self.url}: the environment variable {name} holds no key (not plain ASCII on one line)", "export it anew")
        return found


class ChatSettings(EndpointSettings):
    """A language model behind an OpenAI-compatible endpoint."""

    url: str = Field("https://api.openai.com/v1", description="Base URL of an OpenAI-compatible endpoint.")
    model: str = Field(min_length=1, description="Its name there; part of the key of each kept answer.")
    revision: str = Field("", description="Declared revision; part of the key of each kept answer: another one asks anew.")
    temperature: float | None = Field(None, ge=0, le=2, description="none: not sent (models that reason take none).")
    max_tokens: int = Field(512, ge=1, le=131_072, description="Most tokens of an answer; a model that reasons does it within these.")
    limit_field: Literal["max_completion_tokens", "max_tokens"] | None = Field(
        None, description="What the endpoint calls that limit; none: max_completion_tokens at https://api.openai.com, max_tokens elsewhere."
    )
    reasoning_effort: str | None = Field(
        None,
        pattern="^[a-z]+$",
        description="How much a model that reasons does so, in the endpoint's words (minimal, low …); none: not sent.",
    )
    seed: int | None = Field(None, description="Sent to the endpoint, if it takes one; none: not sent.")
    stream: bool = Field(False, description="Answers come in pieces; one that is cut off is asked again.")
    json_mode: Literal["schema", "object", "none"] = Field(
        "schema", description="How the form of answers is asked for: by JSON schema, as any JSON object, or by the prompt alone."
    )
    malformed_retries: int = Field(1, ge=0, le=10, description="Further tries where an answer does not have the wanted form.")
    ask_rejected: bool = Field(
        False,
        description="Ask again what the endpoint did not take before (too long, a content filter); else it stays set aside.",
    )
    price_in: float = Field(0.0, ge=0, description="Money for a million tokens of prompts, in whatever currency.")
    price_out: float = Field(0.0, ge=0, description="Money for a million tokens of answers.")

    def parameters(self) -> dict[str, Any]:
        """What decides an answer besides the prompt and the model."""
        found = {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed, "json_mode": self.json_mode}
        return found if self.reasoning_effort is None else {**found, "reasoning_effort": self.reasoning_effort}

    @property
    def limit_name(self) -> str:
        """The field that bounds an answer's tokens in a request."""
        return self.limit_field or ("max_completion_tokens" if self.at_openai else "max_tokens")

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Money for so many tokens."""
        return cost_of(prompt_tokens, completion_tokens, self.price_in, self.price_out)


def cost_of(prompt_tokens: int, completion_tokens: int, price_in: float, price_out: float) -> float:
    """Money for so many tokens, at prices for a million."""
    return (prompt_tokens * price_in + completion_tokens * price_out) / 1e6


class BudgetSettings(Settings):
    """What one command may spend, in all its rounds and datasets; none: no limit. It stops before it would be more.

    The same command again goes on, with a new budget.
    """

    calls: int | None = Field(None, ge=0, description="Requests that are sent, retries among them.")
    tokens: int | None = Field(None, ge=0, description="Tokens of prompts and answers.")
    money: float | None = Field(None, ge=0, description="By price_in and price_out.")

    def check(self, *models: ChatSettings) -> None:
        """Refuse a limit that cannot be kept.

        Raises:
            UsageError: a budget in money, and a model without prices.
        """
        free = [model.model for model in models if not model.price_in and not model.price_out]
        if self.money is not None and free:
            raise UsageError(
                f"budget.money is set, and model {free[0]!r} has no prices", "set its price_in and price_out, or leave budget.money out"
            )


class RemoteSettings(EndpointSettings):
    """An embedder or reranker behind an endpoint; the model's ``path`` is its name there."""

    api: Literal["openai", "tei"] = Field(
        description="openai: /embeddings below the URL; tei: /embed and /rerank of text-embeddings-inference."
    )
    revision: str = Field(
        "",
        description="Declared revision: part of the model's identity, so that vectors and scores of another one are never mixed with it.",
    )
    batch: int = Field(32, ge=1, le=2048, description="Texts in a request.")
    dim: int | None = Field(None, ge=1, description="Dimension that its vectors must have; none: that of the first answer.")
