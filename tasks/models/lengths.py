"""Token lengths without torch: what a model would be given, by its own tokenizer's file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

_CHARACTERS = 16  # of a token at most, so that nobody tokenises a book for its first 256 tokens
_WORD = 1.35  # tokens of a word, where the model has no tokenizer.json
_SPECIAL = (2, 3)  # tokens around a text, around a pair


class Lengths:
    """Counts tokens.

    Args:
        folder: of the model.
        limit: the greatest length.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._limit = limit
        self._tokenizer: Any = None
        if (folder / "tokenizer.json").is_file():
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._tokenizer.no_truncation()
            self._tokenizer.no_padding()

    @property
    def exact(self) -> bool:
        """Whether the model's own tokenizer counts; else words do, at 1.35 tokens each."""
        return self._tokenizer is not None

    def plain(self, texts: Sequence[str]) -> Ints:
        """int64, shape (n,): tokens of each text without the special ones, at most the limit."""
        cut = [text[: self._limit * _CHARACTERS] for text in texts]
        if self._tokenizer is None:
            found = [round(len(text.split()) * _WORD) for text in cut]
        else:
            found = [len(one.ids) for one in self._tokenizer.encode_batch(cut, add_special_tokens=False)]
        return self._cut(np.array(found, dtype=np.int64))

    def of_texts(self, plain: Ints) -> Ints:
        """Lengths as the model has them, from :meth:`plain` ones."""
        return self._cut(plain + self._special(pair=False))

    def of_pairs(self, queries: Ints, documents: Ints) -> Ints:
        """Lengths of pairs, from :meth:`plain` ones: each document with the next query in turn."""
        if len(queries) == 0:
            return self.of_texts(documents)
        return self._cut(np.resize(queries, len(documents)) + documents + self._special(pair=True))

    def _cut(self, lengths: Ints) -> Ints:
        cut: Ints = np.minimum(lengths, self._limit)
        return cut

    def _special(self, pair: bool) -> int:
        return _SPECIAL[pair] if self._tokenizer is None else int(self._tokenizer.num_special_tokens_to_add(pair))
