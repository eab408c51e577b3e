"""What a retriever's configuration says of its vectors, before it is loaded. No torch is imported here."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.errors import ModelError
from tasks.models.location import locate
from tasks.models.settings import ModelSettings
from tasks.models.stored import is_reference, model_files, stored_part
from tasks.store.storage import Storage
from tasks.store.tables import local_file

_Read = Callable[[str], Any]

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


def shape_of(settings: ModelSettings, storage: Storage | None = None) -> Shape:
    """Dimensions and similarity, as far as the model's folder tells.

    Args:
        settings: of the model.
        storage: the root, where the model may lie in it.

    Raises:
        ModelError: there is no such model.
    """
    read = _reader(settings, storage)
    width = _width(read)
    if width is not None and settings.truncate_dim is not None:
        width = min(width, settings.truncate_dim)
    own = read("config_sentence_transformers.json").get("similarity_fn_name") or "cosine"
    return Shape(width, str(own) if settings.similarity == "auto" else settings.similarity)


def check_one_space(queries: ModelSettings, documents: ModelSettings, storage: Storage | None = None) -> None:
    """Refuse two encoders whose vectors cannot be compared.

    Args:
        queries: the encoder of queries.
        documents: the encoder of documents.
        storage: the root, where they may lie in it.

    Raises:
        ModelError: their dimensions or similarities differ.
    """
    asked, held = shape_of(queries, storage), shape_of(documents, storage)
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


def _reader(settings: ModelSettings, storage: Storage | None) -> _Read:
    """Content of a JSON file of the model by its name, empty where there is none; of a model in the root no other file is fetched."""
    if storage is not None and is_reference(settings.path):
        records = model_files(stored_part(storage, settings.path))
        return lambda name: _content(local_file(storage, records[name]), settings.path) if name in records else {}
    folder = locate(settings.path, settings.revision)
    return lambda name: _content(folder / name, settings.path) if (folder / name).is_file() else {}


def _content(file: Path, name: str) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"model {name}: {file.name} is no JSON ({error})", "save the model again with save_pretrained") from error


def _width(read: _Read) -> int | None:
    """Columns of the last module's output."""
    listed = read("modules.json")
    if isinstance(listed, dict):  # there is none: a plain encoder, whose tokens are averaged
        return _of_module("Transformer", read("config.json"))
    width: int | None = None
    for module in listed if isinstance(listed, list) else []:
        kind = str(module.get("type", "")).rpartition(".")[2]
        config = read(PurePosixPath(str(module.get("path", "")), "config.json").as_posix())
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
