"""A judged truth: which pairs are relevant, and on which queries that is known in full."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import InputError
from tasks.sql import run

TRUTH = pa.schema([("query_id", pa.string()), ("doc_id", pa.string()), ("relevance", pa.int32())])
_LAYOUT = "give query-id, doc-id, score (BEIR) or query-id, iteration, doc-id, score (TREC), one pair a line"
_WHOLE = r"^-?\d{1,9}(\.0*)?$"
_NUMBER = r"^[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$"


@dataclass(frozen=True)
class Truth:
    """Exhaustive judgements: for a judged query, a pair that is not listed is not relevant.

    Args:
        pairs: :data:`TRUTH`, each pair once, sorted by query_id, doc_id.
        judged: one column ``query_id``, sorted: the queries on which leak is measured.
        min_grade: the relevance from which a document is relevant.
    """

    pairs: pa.Table
    judged: pa.Table
    min_grade: int = 1

    @cached_property
    def relevant(self) -> pa.Table:
        """(query_id, doc_id) of the relevant pairs of judged queries."""
        sql = "SELECT query_id, doc_id FROM pairs SEMI JOIN judged USING (query_id) WHERE relevance >= $grade ORDER BY ALL"
        return run(sql, {"pairs": self.pairs, "judged": self.judged}, {"grade": self.min_grade})


def read_truth(qrels: Path, measured: Path | None = None, min_grade: int = 1) -> Truth:
    """A truth from files.

    Args:
        qrels: tab- or space-separated, plain or .gz, with or without a header line; three columns (BEIR) or four (TREC).
        measured: query ids, one a line, plain or .gz; without it every query that the qrels name is judged.
        min_grade: the relevance from which a document is relevant.

    Raises:
        InputError: a file is missing or not readable, a line is malformed, a pair has two grades, no pair is relevant, or a
            measured query is not in the qrels; each with file and line.
    """
    pairs = _pairs(qrels)
    highest = pc.max(pairs["relevance"]).as_py()
    if highest < min_grade:
        raise InputError(
            f"{qrels}: no pair has a grade of {min_grade} or more (the highest is {highest})", "lower the least relevant grade"
        )
    judged = run("SELECT DISTINCT query_id FROM pairs ORDER BY 1", {"pairs": pairs})
    return Truth(pairs, judged if measured is None else _measured(measured, judged, qrels), min_grade)


def check_truth(truth: Truth, scored: pa.Table) -> None:
    """Refuse a truth of another collection, which would call every recipe free of leaks.

    Args:
        truth: the truth.
        scored: the round's table, or its columns query_id and doc_id.

    Raises:
        InputError: no judged query, or no relevant pair, is among the round's candidates.
    """
    tables = {"scored": scored.select(["query_id", "doc_id"]), "judged": truth.judged, "relevant": truth.relevant}
    counts = run(
        """SELECT (SELECT count(*) FROM judged SEMI JOIN scored USING (query_id)) AS queries,
                  (SELECT count(*) FROM relevant SEMI JOIN scored USING (query_id, doc_id)) AS pairs""",
        tables,
    ).to_pylist()[0]
    for found, what in ((counts["queries"], "judged queries"), (counts["pairs"], "relevant pairs")):
        if not found:
            raise InputError(f"truth: none of its {what} is in the round", "give the qrels of the collection that the round was mined from")


def _pairs(path: Path) -> pa.Table:
    lines, numbers = _lines(path)
    if not len(lines):
        raise InputError(f"{path}: the file has no line", _LAYOUT)
    fields = pc.split_pattern(lines, "\t") if "\t" in lines[0].as_py() else pc.utf8_split_whitespace(pc.utf8_trim_whitespace(lines))
    first = fields[0].as_py()
    if not pc.match_substring_regex(pa.scalar(first[-1].strip()), _NUMBER).as_py():  # a header
        fields, numbers = fields[1:], numbers[1:]
        if not len(fields):
            raise InputError(f"{path}: there is nothing after the header line", _LAYOUT)
    width = len(fields[0])
    if width not in (3, 4):
        raise InputError(f"{path}:{numbers[0]}: {width} columns", _LAYOUT)
    _refuse(path, numbers, pc.not_equal(pc.list_value_length(fields), width), lambda at: f"{len(fields[at])} columns, not {width}", _LAYOUT)
    query, doc = pc.list_element(fields, 0), pc.list_element(fields, width - 2)
    grade = pc.utf8_trim_whitespace(pc.list_element(fields, width - 1))
    for name, column in (("query", query), ("document", doc)):
        _refuse(path, numbers, pc.equal(pc.utf8_trim_whitespace(column), ""), lambda at, name=name: f"no {name} id", _LAYOUT)  # type: ignore[misc]
    whole = pc.match_substring_regex(grade, _WHOLE)
    _refuse(path, numbers, pc.invert(whole), lambda at: f"the score {grade[at].as_py()!r} is no whole number", "give grades as 0, 1, 2 …")
    relevance = pc.cast(pc.replace_substring_regex(grade, r"\..*$", ""), pa.int32())
    return _once(path, pa.table([query, doc, relevance, pa.array(numbers)], names=["query_id", "doc_id", "relevance", "line"]))


def _once(path: Path, table: pa.Table) -> pa.Table:
    """Each pair once."""
    pairs = run(
        """SELECT query_id, doc_id, max(relevance) AS relevance, min(relevance) AS least, max(line) AS line
           FROM pairs GROUP BY ALL ORDER BY query_id, doc_id""",
        {"pairs": table},
    )
    twice = pairs.filter(pc.not_equal(pairs["relevance"], pairs["least"])).sort_by("line")
    if twice.num_rows:
        pair = twice.slice(0, 1).to_pylist()[0]
        raise InputError(
            f"{path}:{pair['line']}: query {pair['query_id']!r} and document {pair['doc_id']!r} have two grades, "
            f"{pair['least']} and {pair['relevance']}",
            "leave one of the two lines",
        )
    return pairs.select(TRUTH.names).cast(TRUTH)


def _measured(path: Path, known: pa.Table, qrels: Path) -> pa.Table:
    lines, numbers = _lines(path)
    ids = pc.utf8_trim_whitespace(lines)
    if not len(ids):
        raise InputError(f"{path}: the file has no line", "give one query id a line")
    unknown = pc.invert(pc.is_in(ids, value_set=known["query_id"].combine_chunks()))
    _refuse(path, numbers, unknown, lambda at: f"query {ids[at].as_py()!r} is not in {qrels}", "give ids of judged queries, one a line")
    return run("SELECT DISTINCT query_id FROM ids ORDER BY 1", {"ids": pa.table({"query_id": ids})})


def _lines(path: Path) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Lines that are not blank, and their numbers from 1."""
    lines = pc.utf8_rtrim(pa.array(_text(path).split("\n"), pa.large_string()).cast(pa.string()), "\r")
    filled = pc.not_equal(pc.utf8_trim_whitespace(lines), "")
    return lines.filter(filled), np.flatnonzero(filled.to_numpy(zero_copy_only=False)) + 1


def _text(path: Path) -> str:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file", "correct the path")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error})", "write the file again") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}:{data[: error.start].count(10) + 1}: not UTF-8", "save the file as UTF-8") from error


def _refuse(path: Path, numbers: npt.NDArray[np.int64], wrong: pa.Array, what: Callable[[int], str], mend: str) -> None:
    """Raise for the first line that is wrong, and say how many more there are."""
    at = np.flatnonzero(wrong.to_numpy(zero_copy_only=False))
    if len(at):
        more = f" (and {len(at) - 1:,} more lines)" if len(at) > 1 else ""
        raise InputError(f"{path}:{numbers[at[0]]}: {what(int(at[0]))}{more}", mend)
