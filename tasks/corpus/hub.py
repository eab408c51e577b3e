"""Datasets by name, where there is a network: Hugging Face repositories, MTEB's and BEIR's retrieval tasks, ir_datasets ids.

They are fetched once into a cache folder of the machine, as files that the other formats read. Only this module goes over a network.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tasks.errors import InputError, UsageError
from tasks.store.folders import cache_folder, whole_folder
from tasks.store.keys import digest

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_ROLES = {"corpus": ("corpus",), "queries": ("queries",), "qrels": ("qrels", "default")}  # configurations of a retrieval dataset
_TITLES = ("title",)
_TEXTS = ("text", "body", "contents", "abstract")


def is_hub_id(path: str) -> bool:
    """Whether a path names a repository, and no folder that is there.

    >>> is_hub_id("mteb/scifact"), is_hub_id("./data"), is_hub_id("/data/x")
    (True, False, False)
    """
    return bool(_HUB_ID.fullmatch(path)) and not path.startswith(".") and not Path(path).exists()


_TASKS = {  # tasks whose repository has another name than the task in small letters
    "ClimateFEVER": "climate-fever",
    "FiQA2018": "fiqa",
    "QuoraRetrieval": "quora",
    "TRECCOVID": "trec-covid",
}


def fetched_repository(name: str, revision: str = "") -> Path:
    """A folder with a repository's dataset as ``save_to_disk`` writes it: by configuration corpus, queries and qrels, else the whole.

    Args:
        name: owner/name, or the folder of a clone.
        revision: branch, tag or commit; empty: the newest.

    Raises:
        InputError: it cannot be fetched.
    """
    return _kept(["huggingface", name, revision, *_stamps(Path(name))], lambda folder: _save_repository(name, revision, folder))


def fetched_task(name: str, revision: str = "") -> Path:
    """:func:`fetched_repository` of an MTEB retrieval task (BEIR's are among them), by its name, as in SciFact.

    Raises:
        InputError: it cannot be fetched.
    """
    return fetched_repository(f"mteb/{_TASKS.get(name, name.lower())}", revision)


def fetched_ir_dataset(name: str) -> Path:
    """A folder with corpus.jsonl, queries.jsonl and qrels.jsonl of an ir_datasets id, as in beir/scifact/test.

    Raises:
        UsageError: the package ir_datasets is not installed.
        InputError: there is no such id, or it cannot be fetched.
    """
    return _kept(["ir_datasets", name], lambda folder: _save_ir_dataset(name, folder))


def _stamps(folder: Path) -> list[str]:
    """What tells whether a clone has changed; nothing of a name."""
    if not folder.is_dir():
        return []
    files = sorted(file for file in folder.rglob("*") if file.is_file() and ".git" not in file.parts)
    return [f"{file.relative_to(folder)} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]


def _kept(identity: list[str], save: Callable[[Path], None]) -> Path:
    """The cache's folder of that identity; made in full, or not at all."""
    return whole_folder(cache_folder() / "datasets" / digest(identity), save)


def _save_repository(name: str, revision: str, folder: Path) -> None:
    import datasets

    given = {"revision": revision} if revision else {}
    try:
        known = datasets.get_dataset_config_names(name, **given)
        chosen = {role: next((one for one in names if one in known), None) for role, names in _ROLES.items()}
        if chosen["corpus"] and chosen["queries"] and chosen["qrels"]:
            for role, config in chosen.items():
                datasets.load_dataset(name, config, **given).save_to_disk(folder / role)
        else:
            datasets.load_dataset(name, **given).save_to_disk(folder)
    except Exception as error:
        raise InputError(
            f"dataset.path: {name}: no such folder, and the Hugging Face hub does not give it ({type(error).__name__}: {str(error)[:120]})",
            "check the name, and that there is a network (HF_HUB_OFFLINE unset); without one: fetch it elsewhere, save it with "
            "save_to_disk, and give its folder (format: huggingface)",
        ) from error


def _save_ir_dataset(name: str, folder: Path) -> None:
    try:
        ir_datasets = importlib.import_module("ir_datasets")
    except ImportError:
        raise UsageError(
            f"dataset.path: {name}: the package ir_datasets is not installed", "pip install ir_datasets; or give files (format: jsonl)"
        ) from None
    try:
        write_ir_dataset(ir_datasets.load(name), folder)
    except Exception as error:
        raise InputError(
            f"dataset.path: {name}: ir_datasets does not give it ({type(error).__name__}: {str(error)[:120]})",
            "check the id (ir_datasets list), and that there is a network; without one: fetch it elsewhere and give files (format: jsonl)",
        ) from error


def write_ir_dataset(dataset: Any, folder: Path) -> None:
    """Documents, queries and judgements of an ir_datasets dataset as JSON lines.

    Args:
        dataset: with ``docs_iter``, ``queries_iter`` and ``qrels_iter``, which give named tuples.
        folder: to write to.
    """
    _lines(folder / "corpus.jsonl", map(_document, dataset.docs_iter()))
    _lines(folder / "queries.jsonl", ({"query_id": one.query_id, "query": _first(one, _QUERIES)} for one in dataset.queries_iter()))
    _lines(
        folder / "qrels.jsonl",
        ({"query_id": one.query_id, "doc_id": one.doc_id, "relevance": int(one.relevance)} for one in dataset.qrels_iter()),
    )


_QUERIES = ("text", "query", "title", "description")


def _document(one: Any) -> Mapping[str, str]:
    title, text = _first(one, _TITLES), _first(one, _TEXTS)
    return {"doc_id": one.doc_id, "title": title, "text": text or str(one.default_text())}


def _first(one: Any, names: Iterable[str]) -> str:
    values: Iterator[Any] = (getattr(one, name, None) for name in names)
    return next((str(value) for value in values if value), "")


def _lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
