"""How each format lays out its files: which file plays which role."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tasks.corpus import hub
from tasks.corpus.readers.registry import ENDINGS
from tasks.corpus.settings import DatasetSettings
from tasks.errors import InputError, UsageError
from tasks.file_patterns import matches
from tasks.foreign import repair

_LONGEST = 255  # bytes of a file's name


def kind_of(path: Path) -> str:
    """What a file is by its ending.

    Raises:
        InputError: the ending is unknown.
    """
    inner = Path(path.stem) if path.suffix == ".gz" else path
    kind = ENDINGS.get(inner.suffix)
    if kind is None or (path.suffix == ".gz" and kind not in ("jsonl", "csv")):
        raise InputError(f"{path}: cannot tell what kind of file this is", "name it .jsonl, .csv or .tsv (each also .gz), or .parquet")
    return kind


def _beir(settings: DatasetSettings) -> list[tuple[str, Path]]:
    folder = _folder(settings.path)
    found = [("corpus", _one_of(folder, "corpus.jsonl")), ("queries", _one_of(folder, "queries.jsonl"))]
    if settings.split:
        return [*found, ("qrels", _one_of(folder, f"qrels/{settings.split}.tsv", _splits(folder)))]
    splits = _splits(folder)
    if len(splits) != 1:
        raise UsageError(f"dataset.split: {folder}/qrels has {_named(splits)}", "set split to one of them")
    return [*found, ("qrels", _one_of(folder, f"qrels/{splits[0]}.tsv"))]


def _files(settings: DatasetSettings) -> list[tuple[str, Path]]:
    kinds = {"jsonl": "jsonl", "parquet": "parquet", "csv": "csv"}
    found = []
    for role in ("corpus", "queries", "qrels"):
        for path in matches(f"dataset.{role}", getattr(settings, role)):
            if kind_of(path) != kinds[settings.format]:
                raise InputError(
                    f"dataset.{role}: {path} is no {settings.format} file", f"give {settings.format} files, or set format to what they are"
                )
            found.append((role, path))
    return found


def _pairs(settings: DatasetSettings) -> list[tuple[str, Path]]:
    return [("pairs", path) for path in matches("dataset.pairs", settings.pairs)] + [
        ("texts", path) for path in matches("dataset.corpus", settings.corpus)
    ]


def _huggingface(settings: DatasetSettings) -> list[tuple[str, Path]]:
    if hub.is_hub_id(settings.path):
        return _saved(hub.fetched_repository(settings.path, settings.revision), settings)
    folder = _folder(settings.path)
    if is_clone(folder):
        folder = hub.fetched_repository(str(folder))
    return _saved(folder, settings)


def is_clone(folder: Path) -> bool:
    """Whether a folder is the clone of a dataset repository, with a card and data files, and not what save_to_disk wrote."""
    saved = (folder / "state.json").exists() or (folder / "dataset_dict.json").exists()
    return (folder / "README.md").is_file() and not saved and any(folder.rglob("*.parquet"))


def _mteb(settings: DatasetSettings) -> list[tuple[str, Path]]:
    return _saved(hub.fetched_task(settings.path, settings.revision), settings)


def _ir_datasets(settings: DatasetSettings) -> list[tuple[str, Path]]:
    folder = hub.fetched_ir_dataset(settings.path)
    return [(role, folder / f"{role}.jsonl") for role in ("corpus", "queries", "qrels")]


def _saved(folder: Path, settings: DatasetSettings) -> list[tuple[str, Path]]:
    """Files of what save_to_disk wrote."""
    roles = ("corpus", "queries", "qrels")
    splits = _dict_splits(folder)
    if splits and all(role in splits for role in roles):
        return [(role, path) for role in roles for path in _arrow_files(folder / role)]
    if splits or (folder / "state.json").exists():
        return [("pairs", path) for path in _arrow_files(_split_folder(folder, splits, settings.split))]
    if all((folder / role).is_dir() for role in roles):
        found = []
        for role in roles:
            inner = _dict_splits(folder / role)
            chosen = settings.split if settings.split in inner or role == "qrels" else ""
            found += [(role, path) for path in _arrow_files(_split_folder(folder / role, inner, chosen))]
        return found
    raise InputError(
        f"dataset.path: {folder} holds no dataset that was saved with save_to_disk",
        "save it with dataset.save_to_disk(path), or give a folder with corpus, queries and qrels in it",
    )


#: by format: the files of a dataset and their roles, in source order
FINDERS: dict[str, Callable[[DatasetSettings], list[tuple[str, Path]]]] = {
    "beir": _beir,
    "jsonl": _files,
    "parquet": _files,
    "csv": _files,
    "pairs": _pairs,
    "huggingface": _huggingface,
    "mteb": _mteb,
    "ir_datasets": _ir_datasets,
}


def _folder(path: str) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(
            f"dataset.path: {folder} is {'no folder' if folder.exists() else 'missing'}", "give the folder that holds the dataset"
        )
    return folder


def _one_of(folder: Path, name: str, splits: Sequence[str] | None = None) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    if splits is not None:
        raise UsageError(f"dataset.split: {folder / name} is missing", f"there are: {_named(splits)}; set split to one of them")
    raise InputError(
        f"dataset.path: {folder / name} (or .gz) is missing", "a BEIR folder has corpus.jsonl, queries.jsonl and qrels/<split>.tsv"
    )


def _splits(folder: Path) -> list[str]:
    return sorted(
        {
            path.name.removesuffix(".gz").removesuffix(".tsv")
            for path in folder.glob("qrels/*.tsv*")
            if path.name.endswith((".tsv", ".tsv.gz"))
        }
    )


def _named(names: Sequence[str]) -> str:
    return ", ".join(names) or "no splits"


def _dict_splits(folder: Path) -> list[str]:
    file = folder / "dataset_dict.json"
    return [_plain(file, name) for name in _listed(file, "splits")] if file.is_file() else []


def _split_folder(folder: Path, splits: Sequence[str], split: str) -> Path:
    if not splits:
        return folder
    if split in splits:
        return folder / split
    if split or len(splits) > 1:
        raise UsageError(f"dataset.split: {folder} has {_named(splits)}" + (f", not {split}" if split else ""), "set split to one of them")
    return folder / splits[0]


def _arrow_files(folder: Path) -> list[Path]:
    state = folder / "state.json"
    if not state.is_file():
        raise InputError(
            f"{state} is missing: {folder} is no dataset that was saved with save_to_disk", "save it with dataset.save_to_disk(path)"
        )
    content = _json(state)
    if content.get("_indices_data_files"):
        raise InputError(f"{folder}: the dataset was saved with an indices mapping", "call flatten_indices() on it and save it again")
    files = _listed(state, "_data_files")
    if not files:
        raise InputError(f"{state}: there are no data files", "save the dataset again")
    paths = [folder / _plain(state, file.get("filename") if isinstance(file, dict) else file) for file in files]
    for path in paths:
        if not path.is_file():
            raise InputError(f"{path} is missing", "save the dataset again")
    return paths


def _listed(path: Path, name: str) -> list[Any]:
    value = _json(path).get(name) or []
    if not isinstance(value, list):
        raise InputError(f"{path}: {name} is no list", "save the dataset again")
    return value


def _plain(path: Path, name: Any) -> str:
    """The name of a file or folder beside ``path``: what comes from outside leads nowhere else."""
    if (
        not isinstance(name, str)
        or name in ("", ".", "..")
        or repair(name) is not name
        or set("/\\") & set(name)
        or len(name.encode()) > _LONGEST
    ):
        raise InputError(f"{path}: {str(name)[:80]!r} is no name of a file beside it", "save the dataset again")
    return name


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})", "save the dataset again") from error
    if not isinstance(value, dict):
        raise InputError(f"{path}: not a JSON object", "save the dataset again")
    return value
