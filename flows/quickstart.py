"""The quickstart's run: docstrings of the packages that the lock has just installed, sized for six minutes on two cores."""

from __future__ import annotations

from pathlib import Path

from flows.settings import MineSettings

DOCUMENTS, QUERIES = 2200, 430
_DATASET = {
    "name": "quickstart",
    "format": "docstrings",
    "packages": ["dask", "datasets", "distributed", "fsspec", "numpy", "pandas", "prefect", "pyarrow", "scipy", "sklearn"],
}
_RUN = {
    "model": {"path": "packaged", "max_length": 192},
    "teacher": {
        "train": {"epochs": 2, "negatives": 1, "random_negatives": 3, "max_length": 64},
        "depth": 8,
        "max_length": 96,
    },
    "retrieve": {"dense": {"top_k": 100}, "bm25": {"top_k": 50}},
    "recipe": "hardmine",
    "recipes": ["top"],
    "num_negatives": 5,
    "formats": ["triplet", "labeled-list"],
}


def quickstart_settings(root: str, max_documents: int = DOCUMENTS, max_queries: int = QUERIES) -> MineSettings:
    """Settings of the quickstart's round under a root, with so many docstrings as documents and as queries."""
    dataset = {**_DATASET, "max_documents": max_documents, "max_queries": max_queries}
    return MineSettings.model_validate({**_RUN, "dataset": dataset, "root": root}).resolved(Path.cwd())
