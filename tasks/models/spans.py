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
from tasks.models.stored import is_reference, model_files, stored_part
from tasks.store.keys import file_checksum
from tasks.store.storage import Storage
from tasks.store.tables import local_file

_WORD = re.compile(r"\S+")
WORDS = "words"
_FROM_PADDING = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet"})  # their positions count from padding_idx + 1


class Sight(NamedTuple):
    """What a model sees of a document: how its input is made, and after how many tokens it is cut."""

    tokenizer: str  # a folder with a tokenizer.json, or the name of a checkpoint in the root
    checksum: str  # of tokenizer.json
    limit: int  # tokens, special ones among them
    prompt: str
    template: str


class Spans:
    """Places of tokens in texts.

    Args:
        tokenizer: a folder with a tokenizer.json, or the name of a checkpoint in a root; empty: words between white space.
        storage: that root.

    Raises:
        ModelError: the root has no such checkpoint.
        StorageError: its tokenizer is damaged.
    """

    def __init__(self, tokenizer: str, storage: Storage | None = None) -> None:
        self._tokenizer: Any = None
        if tokenizer:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(_tokenizer_file(tokenizer, storage)))
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


def sight_of(model: ModelSettings, storage: Storage | None = None) -> Sight | None:
    """What an encoder of documents sees; ``None`` where that cannot be told beforehand (no tokenizer.json, or behind an endpoint).

    Args:
        model: the encoder.
        storage: the root, where the encoder may be a checkpoint in it: its tokenizer alone is read.

    Raises:
        ModelError: the root has no such checkpoint.
    """
    if model.remote is not None:
        return None
    found = _of_checkpoint(model.path, storage) if is_reference(model.path) else _of_folder(model)
    if found is None:
        return None
    tokenizer, checksum, config = found
    given = json.loads(config.read_text(encoding="utf-8")) if config is not None else {}
    limit = length_of(given.get("model_type"), given.get("max_position_embeddings"), model.max_length)
    return Sight(tokenizer, checksum, limit, model.document_prompt, model.title_template)


def length_of(model_type: str | None, positions: int | None, wanted: int) -> int:
    """The wanted number of tokens, or fewer where a model has no positions for so many.

    >>> length_of("bert", 512, 1024), length_of("xlm-roberta", 514, 1024), length_of("bert", None, 1024), length_of("roberta", 514, 256)
    (512, 512, 1024, 256)
    """
    if not positions:
        return wanted
    return int(min(wanted, positions - 2 if model_type in _FROM_PADDING else positions))


def _of_folder(model: ModelSettings) -> tuple[str, str, Path | None] | None:
    try:
        folder, checksum = tokenizer_of(model.path, model.revision)
    except ModelError:
        return None
    config = Path(folder) / "config.json"
    return folder, checksum, config if config.is_file() else None


def _of_checkpoint(path: str, storage: Storage | None) -> tuple[str, str, Path | None] | None:
    files = model_files(stored_part(storage, path))
    if storage is None or "tokenizer.json" not in files:
        return None
    config = files.get("config.json")
    return path, files["tokenizer.json"].checksum, local_file(storage, config) if config else None


def _tokenizer_file(tokenizer: str, storage: Storage | None) -> Path:
    if storage is None or not is_reference(tokenizer):
        return Path(tokenizer) / "tokenizer.json"
    return local_file(storage, model_files(stored_part(storage, tokenizer))["tokenizer.json"])
