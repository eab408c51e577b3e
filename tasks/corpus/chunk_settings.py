"""How long documents are cut into chunks, and how labels go from a document to its chunks."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.models.spans import WORDS
from tasks.settings import Settings

SEPARATOR = "#"  # between a document's id and its chunk's number


class ChunkSettings(Settings):
    """Documents are cut into chunks ``<doc_id>#0000``, ``#0001`` …, which are documents then; ``group_id`` is the document's own id."""

    tokens: int = Field(ge=8, le=131_072, description="Tokens of a chunk at most.")
    stride: int | None = Field(None, ge=1, description="Tokens from one chunk's start to the next one's; less than tokens: they overlap.")
    tokenizer: str = Field("packaged", description="Whose tokens are counted: a model's folder or hub id, or words (by white space).")
    labels: Literal["all", "first", "answer", "overlap"] = Field(
        description="Which chunks of a relevant document are relevant: all, the first, those that hold an answer of the query, or the one "
        "that has most of the query's words. There is no default: whoever labelled the documents knows."
    )

    lost_labels: Literal["set_aside", "document"] = Field(
        "set_aside",
        description="What becomes of a reviewed or promoted chunk whose text is in no chunk any more: the label is set aside and counted, "
        "or one that says relevant is taken for its document, and goes to chunks as `labels` says.",
    )

    @model_validator(mode="after")
    def _no_gap(self) -> Self:
        if self.stride is not None and self.stride > self.tokens:
            raise ValueError(f"stride {self.stride} is over tokens {self.tokens}: what lies between two chunks would be in none")
        return self

    def resolved(self, base: Path) -> ChunkSettings:
        """The same with a relative folder of the tokenizer taken from ``base``; hub ids and words stay."""
        local = base / Path(self.tokenizer).expanduser()
        is_folder = not self.counts_words and (local.is_dir() or self.tokenizer.startswith((".", "~", "/")))
        return self.model_copy(update={"tokenizer": str(local.resolve())}) if is_folder else self

    @property
    def counts_words(self) -> bool:
        """Whether words are counted, not a model's tokens."""
        return self.tokenizer == WORDS
