"""Fuzzing that follows the branches of the code under test, by Atheris (`pip install atheris`; it is no dependency).

    python -m tests.fuzz.by_coverage jsonl --runs 20000

Each reader gets files of the fuzzer's bytes: it gives rows, or an error in a user's words. Anything else ends it with 77.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris  # type: ignore[import-not-found,unused-ignore]

with atheris.instrument_imports(include=["tasks", "flows.configuration", "flows.settings"]):
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from flows.configuration import load_recipe, load_settings
    from flows.settings import MineSettings
    from tasks.compare.truth import read_truth
    from tasks.corpus.readers import arrow, delimited, jsonl
    from tasks.corpus.readers.rows import Cursor, Dialect, shown
    from tasks.errors import HardmineError
    from tasks.retrieve.further_settings import FurtherSource
    from tasks.retrieve.given.rows import run_rows, table_rows
    from tasks.retrieve.given.vector_files import check_vectors
    from tasks.review.labels import read_labels
    from tasks.review.sample import SAMPLE, Drawn, Origin, Stratum, manifest_of
    from tasks.review.second import read_scores

COMMA = Dialect()
TABLE = pa.table({"doc_id": ["a", "b"], "text": ["x", "y"]})
COLUMNS = {"query_id": ("query_id",), "doc_id": ("doc_id",), "score": ("score",), "rank": ("rank",)}
PAIR = {
    "query_id": "q", "doc_id": "d", "query": "x", "title": None, "text": "y", "positives": [], "stratum": 0, "inclusion": 0.5,
    "teacher_score": 1.0, "dense_rank": 1, "dense_score": 0.5, "recipes": ["a"],
}  # fmt: skip
ORIGIN = Origin(
    dataset="tiny", round=1, candidate_set_id="c", seed=1, budget=1, strata=(Stratum(number=0, size=2, draws=1),),
    selections=(Drawn(selection_id="s", recipe="a", key="k"),),
)  # fmt: skip
MANIFEST = manifest_of(pa.Table.from_pylist([PAIR], schema=SAMPLE), ORIGIN)
Reader = Callable[[Path], object]


def _rows(read: Callable[..., object], dialect: Dialect = COMMA) -> Reader:
    return lambda path: [shown(raw).encode() for raw in read(path, dialect, Cursor())]  # type: ignore[attr-defined]


def _vectors(path: Path) -> object:
    ids = path.with_name("ids.txt")
    ids.write_text("a\nb")
    files = {"documents": str(path), "queries": str(path), "document_ids": str(ids), "query_ids": str(ids)}
    return [side.rows(np.arange(2)) for side in check_vectors(FurtherSource.model_validate({"name": "v", "kind": "vectors", **files}))]


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(TABLE, sink)
    return sink.getvalue()


def _arrow() -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)
    return sink.getvalue()


def _npy() -> bytes:
    sink = io.BytesIO()
    np.save(sink, np.zeros((2, 2), np.float32))
    return sink.getvalue()


YAML = b"root: mining\ndataset: {name: d, format: jsonl, corpus: [c.jsonl], queries: [q.jsonl]}\nmodel: {path: packaged}\nrecipe: top\n"
#: of each reader: the name of its file, what reads it, and a good file to begin with
READERS: dict[str, tuple[str, Reader, bytes]] = {
    "jsonl": ("c.jsonl", _rows(jsonl.read), b'{"doc_id": "a", "text": "x"}\n{"doc_id": "b", "text": "y"}\n'),
    "csv": ("c.csv", _rows(delimited.read), b'doc_id,text\na,"x, y"\n'),
    "tsv": ("c.tsv", _rows(delimited.read, Dialect("\t")), b"doc_id\ttext\na\tx\n"),
    "parquet": ("c.parquet", _rows(arrow.read_parquet), _parquet()),
    "arrow": ("c.arrow", _rows(arrow.read_arrow), _arrow()),
    "run": ("a.trec", lambda path: list(run_rows(path)), b"q1 Q0 d1 1 2.5 t\n"),
    "table": ("a.jsonl", lambda path: list(table_rows(path, COLUMNS)), b'{"query_id": "q1", "doc_id": "d1", "score": 2.5}\n'),
    "table-csv": ("a.csv", lambda path: list(table_rows(path, COLUMNS)), b"query_id,doc_id,score\nq1,d1,2.5\n"),
    "npy": ("v.npy", _vectors, _npy()),
    "qrels": ("q.tsv", read_truth, b"query-id\tcorpus-id\tscore\nq1\td1\t1\n"),
    "second": ("s.csv", read_scores, b"query_id,doc_id,score\nq1,d1,0.5\n"),
    "run.yaml": ("run.yaml", lambda path: load_settings(MineSettings, path), YAML),
    "recipe": ("r.yaml", lambda path: load_recipe(path.read_bytes().decode(errors="surrogateescape")), b"name: rocketqa\ndepth: 20\n"),
    "review": ("r.csv", lambda path: read_labels([path], MANIFEST), b"pair,label\n%s,relevant\n" % MANIFEST.pairs[0].pair.encode()),
    "review-json": (
        "r.jsonl",
        lambda path: read_labels([path], MANIFEST),
        b'{"pair": "%s", "label": "not"}' % MANIFEST.pairs[0].pair.encode(),
    ),
}


def main(reader: str, runs: int) -> None:
    """Fuzz one reader; ends the process."""
    name, read, good = READERS[reader]
    with tempfile.TemporaryDirectory() as folder:
        path, seeds = Path(folder) / name, Path(folder) / "seeds"
        seeds.mkdir()
        (seeds / "good").write_bytes(good)

        left = iter(range(runs))

        def one(data: bytes) -> None:
            if next(left, None) is None:
                sys.stdout.write(f"{reader}: {runs} files\n")
                sys.stdout.flush()
                os._exit(0)  # the usual end is libFuzzer's, which DuckDB's threads do not survive
            path.write_bytes(data)
            try:
                read(path)
            except HardmineError as error:
                assert error.message.strip()
                error.message.encode("utf-8")

        atheris.Setup([sys.argv[0], "-max_len=4096", "-rss_limit_mb=4096", f"-artifact_prefix={Path.cwd()}/", str(seeds)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[3]))
