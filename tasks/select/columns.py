"""Which columns a recipe's SQL mentions: what a selection reads, and which feature stages a recipe needs."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from tasks.schema import OPTIONAL_FEATURES

_TEXT = re.compile(r"'(?:[^']|'')*'")
_WORD = re.compile(r"[a-z_][a-z0-9_]*")

# What a selection uses of the scored table whatever the recipe is.
_LABEL = ("relevance", "is_positive", "planted", "provenance")
ALWAYS = ("query_id", "doc_id", "query_row", "doc_partition", "doc_row", *_LABEL, "doc_hash")


def mentioned(texts: Iterable[str]) -> set[str]:
    """Words of SQL in lower case, outside of string literals: every column that is named is among them.

    >>> sorted(mentioned(["coalesce(dense_score, 0) > 0.5 AND doc_id <> 'bm25_score'"]))
    ['and', 'coalesce', 'dense_score', 'doc_id']
    """
    return {word for text in texts for word in _WORD.findall(_TEXT.sub(" ", text).lower())}


def asks_teacher(*texts: str) -> bool:
    """Whether SQL names a score of the teacher's, the candidate's own or its positives'. ``COLUMNS(…)`` may name any column.

    >>> asks_teacher("positive_teacher_logit_min > 0"), asks_teacher("dense_score > 0.5"), asks_teacher("'teacher_logit'")
    (True, False, False)
    """
    words = mentioned(texts)
    own = {word.removeprefix("own_").removeprefix("positive_") for word in words}
    return "columns" in words or any(word.startswith("teacher_") for word in own)


def features_of(words: Collection[str]) -> list[str]:
    """The feature stages that give some of the mentioned columns.

    >>> features_of({"doc_tokens", "dense_score"})
    ['size']
    """
    return [name for name, columns in OPTIONAL_FEATURES.items() if any(column in words for column, _ in columns)]


def needed(words: Collection[str], names: Iterable[str]) -> list[str]:
    """Those of a table's columns that a selection reads. DuckDB's ``COLUMNS(…)`` names them by pattern: then all.

    Args:
        words: of the recipe's SQL.
        names: the table's columns.
    """
    if "columns" in words:
        return list(names)
    own = {word.removeprefix("own_") for word in words}
    return [name for name in names if name in ALWAYS or name in words or name in own]
