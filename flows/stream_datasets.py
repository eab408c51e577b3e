"""Training rows as a streamed dataset of the library ``datasets``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from flows.pointed import Pointed
from tasks.store.storage import open_storage
from tasks.stream.files import StreamFile, blocks_of, columns_of, read_rows


def stream(root: str, found: Pointed) -> Any:
    """A ``datasets.IterableDataset`` with a shard a file and the columns known beforehand."""
    from datasets import Features, IterableDataset

    blocks_of(found.files)  # refuses what is no table
    features = Features.from_arrow_schema(columns_of(open_storage(root), found.files[0]))
    given = {"root": root, "files": [asdict(file) for file in found.files]}
    return IterableDataset.from_generator(rows_of_files, features=features, gen_kwargs=given)


def rows_of_files(root: str, files: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """All rows of some files, in their order."""
    storage = open_storage(root)
    for block in blocks_of([StreamFile(**file) for file in files]):
        yield from read_rows(storage, block, np.arange(block.rows))
