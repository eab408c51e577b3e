"""Rules over documents' texts: answers, length, language."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tasks.select.rules.base import OnNull, Rule
from tasks.sql import quote_literal


class AnswerMatch(Rule):
    """Drops documents that contain an answer to the query (DPR). NULL: the query has no answers."""

    kind: Literal["answer_match"] = "answer_match"
    on_null: OnNull

    def columns(self) -> list[str]:
        """The answer feature."""
        return ["answer_match"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        return "answer_match"


class TokenLimit(Rule):
    """Drops documents that are shorter or longer than so many tokens."""

    kind: Literal["token_limit"] = "token_limit"
    min_tokens: int | None = Field(None, ge=1)
    max_tokens: int | None = Field(None, ge=1)
    on_null: OnNull = "reject"

    @model_validator(mode="after")
    def _limits_something(self) -> TokenLimit:
        if self.min_tokens is None and self.max_tokens is None:
            raise ValueError("set min_tokens, max_tokens or both")
        return self

    def columns(self) -> list[str]:
        """The length feature."""
        return ["doc_tokens"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        bounds = ((self.min_tokens, "<"), (self.max_tokens, ">"))
        return "(" + " OR ".join(f"doc_tokens {beyond} {bound}" for bound, beyond in bounds if bound is not None) + ")"


class Language(Rule):
    """Keeps documents of the query's own language (same), of another one (cross), or of a list of codes."""

    kind: Literal["language"] = "language"
    languages: Literal["same", "cross"] | Annotated[tuple[str, ...], Field(min_length=1)]
    on_null: OnNull

    def columns(self) -> list[str]:
        """The document's language, and the query's if they are compared."""
        return ["doc_language", "query_language"] if isinstance(self.languages, str) else ["doc_language"]

    def rejects(self) -> str:
        """See :meth:`Rule.rejects`."""
        if isinstance(self.languages, str):
            return f"doc_language {'<>' if self.languages == 'same' else '='} query_language"
        return f"doc_language NOT IN ({', '.join(quote_literal(code) for code in self.languages)})"
