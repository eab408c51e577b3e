"""Where tokens lie in a text: by a model's own tokenizer, or by white space. No torch is imported."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tasks.errors import ModelError
from tasks.models.location import locate
from tasks.models.settings import ModelSettings
from tasks.models.stored import is_reference
from tasks.store.keys import file_checksum

_WORD = re.compile(r"\S+")
WORDS = "words"


class Sight(NamedTuple):
    """What a model sees of a document: how its input is made, and after how many tokens it is cut."""

    folder: str
    checksum: str  # of tokenizer.json
    limit: int  # tokens, special ones among them
    prompt: str
    template: str


class Spans:
    """Places of tokens in texts.

    Args:
        folder: of a model with a tokenizer.json; empty: words between white space.
    """

    def __init__(self, folder: str) -> None:
        self._tokenizer: Any = None
        if folder:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()

    @property
    def special(self) -> int:
        """Tokens that the model puts around a text."""
        return int(self._tokenizer.num_special_tokens_to_add(False)) if self._tokenizer else 0

    def of(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """(start, end) in characters of each token of each text, without special ones."""
        if self._tokenizer is None:
            return [[match.span() for match in _WORD.finditer(text)] for text in texts]
        encoded = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [[(int(start), int(end)) for start, end in one.offsets if end > start] for one in encoded]


def tokenizer_of(path: str, revision: str | None = None) -> tuple[str, str]:
    """(folder, checksum) of a model's tokenizer.json.

    Raises:
        ModelError: the model is not there, or has no such file.
    """
    folder = locate(path, revision)
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise ModelError(f"model {path}: it has no tokenizer.json, by which tokens could be counted", f"count words: tokenizer: {WORDS}")
    return str(folder), file_checksum(file)


def sight_of(model: ModelSettings) -> Sight | None:
    """What an encoder of documents sees; ``None`` where that cannot be told beforehand (no tokenizer.json, or a model in the root)."""
    if is_reference(model.path):
        return None
    try:
        folder, checksum = tokenizer_of(model.path, model.revision)
    except ModelError:
        return None
    config = Path(folder) / "config.json"
    positions = (json.loads(config.read_text()) if config.is_file() else {}).get("max_position_embeddings") or model.max_length
    return Sight(folder, checksum, min(model.max_length, int(positions)), model.document_prompt, model.title_template)
