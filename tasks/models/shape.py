"""What a retriever's configuration says of its vectors, before it is loaded. No torch is imported here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import ModelError
from tasks.models.location import locate
from tasks.models.settings import ModelSettings

_WIDTHS = ("hidden_size", "d_model", "dim", "n_embd")
_UNCHANGED = {"Normalize", "LayerNorm", "Dropout"}


@dataclass(frozen=True)
class Shape:
    """Of a model's vectors.

    Args:
        dim: dimensions; ``None``: the configuration does not say.
        similarity: ``cosine``, ``dot`` or what else the model names.
    """

    dim: int | None
    similarity: str


def shape_of(settings: ModelSettings) -> Shape:
    """Dimensions and similarity, as far as the model's folder tells.

    Raises:
        ModelError: there is no such model.
    """
    folder = locate(settings.path, settings.revision)
    width = _width(folder)
    if width is not None and settings.truncate_dim is not None:
        width = min(width, settings.truncate_dim)
    own = _read(folder / "config_sentence_transformers.json").get("similarity_fn_name") or "cosine"
    return Shape(width, str(own) if settings.similarity == "auto" else settings.similarity)


def check_one_space(queries: ModelSettings, documents: ModelSettings) -> None:
    """Refuse two encoders whose vectors cannot be compared.

    Args:
        queries: the encoder of queries.
        documents: the encoder of documents.

    Raises:
        ModelError: their dimensions or similarities differ.
    """
    asked, held = shape_of(queries), shape_of(documents)
    if asked.dim is not None and held.dim is not None and asked.dim != held.dim:
        raise ModelError(
            f"model {queries.path} gives queries of {asked.dim} dimensions, document_model {documents.path} documents of {held.dim}",
            "give two encoders that were trained for each other, or set truncate_dim for both",
        )
    if asked.similarity != held.similarity:
        raise ModelError(
            f"model {queries.path} compares by {asked.similarity}, document_model {documents.path} by {held.similarity}",
            "set similarity: cosine or dot for both",
        )


def _width(folder: Path) -> int | None:
    """Columns of the last module's output."""
    listed = _read(folder / "modules.json")
    width: int | None = None
    for module in listed if isinstance(listed, list) else []:
        kind = str(module.get("type", "")).rpartition(".")[2]
        config = _read(folder / str(module.get("path", "")) / "config.json")
        width = width if kind in _UNCHANGED else _of_module(kind, config)
    return width


def _of_module(kind: str, config: Mapping[str, Any]) -> int | None:
    if kind == "Transformer":
        return next((int(config[name]) for name in _WIDTHS if config.get(name)), None)
    if kind == "Dense":
        return int(config["out_features"]) if "out_features" in config else None
    if kind == "Pooling":
        width = config.get("word_embedding_dimension") or config.get("embedding_dimension")
        named = config.get("pooling_mode")
        modes = sum(value is True for name, value in config.items() if name.startswith("pooling_mode_")) or 1
        if named is not None:
            modes = 1 if isinstance(named, str) else len(named)
        return int(width) * modes if width else None
    return None


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.is_file() else {}
