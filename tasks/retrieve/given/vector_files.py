"""Files of precomputed vectors: .npy with a file of ids beside it, or .parquet with an id and a vector a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.errors import InputError
from tasks.file_patterns import matches
from tasks.foreign import checked
from tasks.retrieve.further_settings import FurtherSource
from tasks.store.tables import map_array

_IDS = {"documents": ("doc_id", "id", "_id", "docid", "pid"), "queries": ("query_id", "id", "_id", "qid")}
_VECTORS = ("vector", "embedding", "embeddings", "vectors")
_ROWS = 8_192


class VectorFiles:
    """Vectors of one side of a source.

    Args:
        source: of kind ``vectors``.
        side: ``documents`` or ``queries``.

    Raises:
        InputError: files are missing, are no vectors, have no ids, or have different dimensions.
    """

    def __init__(self, source: FurtherSource, side: str) -> None:
        self._field = f"source {source.name}: {side}"
        self.paths = matches(f"retrieve.further.{source.name}.{side}", getattr(source, side))
        given = source.columns.doc_id if side == "documents" else source.columns.query_id
        self._id_names = (given,) if given else _IDS[side]
        self._vector_names = (source.columns.vector,) if source.columns.vector else _VECTORS
        self._ids = source.document_ids if side == "documents" else source.query_ids
        kinds = {path.suffix for path in self.paths}
        if kinds not in ({".npy"}, {".parquet"}):
            raise InputError(f"{self._field}: {self.paths[0]} and the others must all be .npy or all .parquet", "name them by their kind")
        self.is_npy = kinds == {".npy"}
        self.dim = self._dimension()

    @property
    def read(self) -> list[Path]:
        """All files whose content counts."""
        return [*self.paths, *([Path(self._ids)] if self.is_npy else [])]

    def ids(self) -> list[str]:
        """The id of each vector, in the files' order.

        Raises:
            InputError: there are not as many as vectors, or one is there twice.
        """
        if self.is_npy:
            ids = _id_lines(Path(self._ids))
            rows = sum(len(_mapped(path)) for path in self.paths)
            if len(ids) != rows:
                raise InputError(f"{self._ids}: {len(ids):,} ids for {rows:,} vectors ({self._field})", "give one id a line, row by row")
        else:
            ids = [one for path in self.paths for one in self._parquet_ids(path)]
        codes, counts = np.unique(np.asarray(ids, dtype=object), return_counts=True)
        if len(codes) < len(ids):
            raise InputError(f"{self._field}: id {codes[counts > 1][0]!r} has two vectors", "keep one vector an id")
        return ids

    def rows(self, wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        """Some vectors, float32, shape (k, dim).

        Args:
            wanted: (k,) their places in :meth:`ids`.
        """
        found = np.empty((len(wanted), self.dim), dtype=np.float32)
        start = 0
        for piece in self._pieces():
            here = np.flatnonzero((wanted >= start) & (wanted < start + len(piece)))
            found[here] = piece[wanted[here] - start]
            start += len(piece)
        return found

    def _pieces(self) -> Iterator[NDArray[Any]]:
        for path in self.paths:
            if self.is_npy:
                yield _mapped(path)
                continue
            column, row = self._column(path, self._vector_names), 0
            for batch in _batches(path, column):
                lists = batch.column(0)
                lengths = np.asarray(pc.list_value_length(lists).to_numpy(zero_copy_only=False))
                if lists.null_count or (lengths != self.dim).any():
                    wrong = int(np.flatnonzero(lengths != self.dim)[0]) if not lists.null_count else 0
                    raise InputError(
                        f"{path}: row {row + wrong + 1} has a vector of another dimension than {self.dim}", "write the file again"
                    )
                yield lists.flatten().to_numpy(zero_copy_only=False).reshape(-1, self.dim)
                row += batch.num_rows

    def _dimension(self) -> int:
        if self.is_npy and not self._ids:
            raise InputError(f"{self._field}: .npy files say nothing of ids", "give document_ids and query_ids: text files, one id a line")
        if self.is_npy and not Path(self._ids).is_file():
            raise InputError(f"{self._field}: {self._ids} is missing", "give the text file with the ids, one a line")
        found = {path: self._dimension_of(path) for path in self.paths}
        first = self.paths[0]
        for path, dim in found.items():
            if dim != found[first]:
                raise InputError(f"{path} has vectors of {dim} dimensions, {first} of {found[first]}", "give files of one model")
        return found[first]

    def _dimension_of(self, path: Path) -> int:
        if self.is_npy:
            array = _mapped(path)
            if array.ndim != 2 or array.dtype.kind != "f":
                raise InputError(f"{path}: {array.dtype} of shape {array.shape}, not float vectors of shape (n, dim)", "save them so")
            return int(array.shape[1])
        column = self._column(path, self._vector_names)
        batch = next(_batches(path, column, 1), None)
        if batch is None or not batch.num_rows or not _is_vectors(batch.column(0).type) or not batch.column(0)[0].is_valid:
            raise InputError(f"{path}: column {column} holds no list of numbers", "name the column of the vectors: columns.vector")
        return len(batch.column(0)[0])

    def _parquet_ids(self, path: Path) -> Iterator[str]:
        column, row = self._column(path, self._id_names), 0
        for batch in _batches(path, column):
            if not _is_id(batch.column(0).type) or batch.column(0).null_count:
                raise InputError(f"{path}: column {column} has rows without an id in rows {row + 1:,} and on", "give every vector its id")
            try:
                yield from map(str, batch.column(0).to_pylist())
            except UnicodeDecodeError as error:
                raise InputError(f"{path}: column {column} has an id that is not UTF-8", "write the file again") from error
            row += batch.num_rows

    def _column(self, path: Path, names: Sequence[str]) -> str:
        try:
            there = pq.read_schema(path).names
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: damaged Parquet file ({error})", "write the file again") from error
        for name in names:
            if name in there:
                return name
        raise InputError(f"{path}: there is no column {' or '.join(names)}; it has {', '.join(there)}", "name it under columns")


def check_vectors(source: FurtherSource) -> tuple[VectorFiles, VectorFiles]:
    """Both sides' files, of one dimension.

    Raises:
        InputError: they are not.
    """
    documents, queries = VectorFiles(source, "documents"), VectorFiles(source, "queries")
    if documents.dim != queries.dim:
        raise InputError(
            f"source {source.name}: {documents.paths[0]} has vectors of {documents.dim} dimensions, {queries.paths[0]} of {queries.dim}",
            "give vectors of documents and queries by one model (or by the two sides of one)",
        )
    return documents, queries


def _is_vectors(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)))


def _is_id(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))


def _batches(path: Path, column: str, size: int = _ROWS) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path) as file:
            yield from map(checked, file.iter_batches(batch_size=size, columns=[column]))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged Parquet file ({error})", "write the file again") from error


def _id_lines(path: Path) -> list[str]:
    """One id a line; lines end at line feeds alone, as ids may have other separators of Unicode."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a text file in UTF-8 ({error})", "save the ids as UTF-8, one a line") from error
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if not lines[-1] else lines


def _mapped(path: Path) -> NDArray[Any]:
    try:
        return map_array(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a .npy file of numbers ({error})", "save it with numpy.save") from error
