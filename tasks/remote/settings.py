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


class EndpointSettings(Settings):
    """Where a model is served, and how hard it may be asked."""

    url: str = Field(description="Base URL, as in https://api.openai.com/v1 or http://localhost:8080.")
    key_from: str = Field(
        "OPENAI_API_KEY", description="Environment variable that holds the key; empty: none is sent. A key itself is never a setting."
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
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("is not an http or https URL, as in https://api.openai.com/v1")
        return value.rstrip("/")

    @field_validator("key_from")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if value and not _VARIABLE.fullmatch(value):  # whatever was given may be a key: it is not shown
            raise PydanticCustomError(SECRET, "must be the NAME of an environment variable, as in OPENAI_API_KEY, not the key")
        return value

    def key(self) -> str:
        """The key, from the environment.

        Raises:
            UsageError: the variable is not set.
        """
        if not self.key_from:
            return ""
        found = os.environ.get(self.key_from, "")
        if not found:
            raise UsageError(
                f"{self.url}: the environment variable {self.key_from} is not set",
                f"export {self.key_from}=…, or set key_from: '' to send none",
            )
        return found


class ChatSettings(EndpointSettings):
    """A language model behind an OpenAI-compatible endpoint."""

    url: str = Field("https://api.openai.com/v1", description="Base URL of an OpenAI-compatible endpoint.")
    model: str = Field(min_length=1, description="Its name there; part of the key of each kept answer.")
    revision: str = Field("", description="Declared revision; part of the key of each kept answer: another one asks anew.")
    temperature: float | None = Field(0.0, ge=0, le=2, description="none: not sent.")
    max_tokens: int = Field(512, ge=1, le=131_072, description="Most tokens of an answer.")
    seed: int | None = Field(None, description="Sent to the endpoint, if it takes one.")
    stream: bool = Field(False, description="Answers come in pieces; one that is cut off is asked again.")
    json_mode: Literal["schema", "object", "none"] = Field(
        "schema", description="How the form of answers is asked for: by JSON schema, as any JSON object, or by the prompt alone."
    )
    malformed_retries: int = Field(1, ge=0, le=10, description="Further tries where an answer does not have the wanted form.")
    price_in: float = Field(0.0, ge=0, description="Money for a million tokens of prompts, in whatever currency.")
    price_out: float = Field(0.0, ge=0, description="Money for a million tokens of answers.")

    def parameters(self) -> dict[str, Any]:
        """What decides an answer besides the prompt and the model."""
        return {"temperature": self.temperature, "max_tokens": self.max_tokens, "seed": self.seed, "json_mode": self.json_mode}

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Money for so many tokens."""
        return cost_of(prompt_tokens, completion_tokens, self.price_in, self.price_out)


def cost_of(prompt_tokens: int, completion_tokens: int, price_in: float, price_out: float) -> float:
    """Money for so many tokens, at prices for a million."""
    return (prompt_tokens * price_in + completion_tokens * price_out) / 1e6


class BudgetSettings(Settings):
    """What one command may spend; none: no limit. It stops before it would be more, and goes on when it is given again."""

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
