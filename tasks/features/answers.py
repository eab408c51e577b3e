"""Feature ``answers``: whether a document contains one of the query's short answers.

Source: DPR's ``has_answer`` [code, in part], on the passage's text (its title where the text is empty). Ours: an answer that
cannot be compared (it has no token, or is a regular expression that does not compile) is left out and counted; in DPR an empty
answer stands in every passage.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tasks.features.base import PLACES, Call, FeatureInputs, only, row_jobs, write_features
from tasks.features.nearest import Ints, addresses, split
from tasks.features.tokens import token_line
from tasks.runner.stage import Job, Stage, Work
from tasks.settings import Settings
from tasks.store.manifest import Part, StageManifest
from tasks.store.output import Output
from tasks.store.tables import take_texts

STAGE = Stage(name="feature-answers", version=1, function="tasks.features.answers:run", unit="candidates")

Finder = Callable[[str], bool]


class AnswerSettings(Settings):
    """How answers are looked for."""

    method: Literal["string", "regex"] = Field("string", description="string: token by token; regex: the answers are regular expressions.")


def build(call: Call, inputs: FeatureInputs, settings: AnswerSettings) -> StageManifest:
    """The one stage."""
    return call(STAGE, jobs(inputs.scored, inputs.queries, inputs.documents, settings))


def jobs(scored: Sequence[Part], queries: Sequence[Part], documents: Sequence[Part], settings: AnswerSettings | None = None) -> list[Job]:
    """One job a part of the scored table, with its queries and over all documents."""
    keyed = (settings or AnswerSettings()).model_dump(mode="json")
    return row_jobs(scored, {"documents": only(documents, "docs.parquet")}, {"queries": only(queries, "queries.parquet")}, keyed)


def run(work: Work, out: Output) -> None:
    """Write ``answer_match``; NULL where the query has no answer that can be compared. Each document is prepared once.

    Meta: queries with answers, answers left out, candidates that match.
    """
    settings = AnswerSettings.model_validate(dict(work.job.settings))
    table = work.table("scored", "scored.parquet", PLACES)
    finders, unusable = _finders(work.table("queries", "queries.parquet", ["answers"])["answers"], settings.method)
    query = table["query_row"].to_numpy()
    rows = np.flatnonzero(np.isin(query, np.fromiter(finders, dtype=np.int64, count=len(finders))))
    address, place = np.unique(addresses(table)[rows], return_inverse=True)
    lines = _prepared(work, address, settings.method)
    found: list[bool | None] = [None] * table.num_rows
    for row, number, document in zip(rows.tolist(), query[rows].tolist(), place.tolist(), strict=True):
        found[row] = finders[number](lines[document])
    column = pa.array(found, pa.bool_())
    write_features(work, out, "answers", {"answer_match": column})
    out.meta.update({"queries_with_answers": len(finders), "unusable_answers": unusable, "matches": pc.sum(column).as_py() or 0})


def finder(answers: Sequence[str | None], method: str) -> tuple[Finder | None, int]:
    """What tells whether a prepared text has one of the answers, and how many answers are left out.

    Args:
        answers: of one query.
        method: ``string``: texts are prepared by :func:`tasks.features.tokens.token_line`; ``regex``: by NFD.
    """
    if method == "regex":
        compiled = [_compiled(answer) for answer in answers]
        patterns = [pattern for pattern in compiled if pattern is not None]
        searching: Finder = lambda text: any(pattern.search(text) for pattern in patterns)  # noqa: E731
        return searching if patterns else None, len(compiled) - len(patterns)
    given = [token_line(answer or "") for answer in answers]
    wanted = sorted({line for line in given if line})
    return (lambda text: any(line in text for line in wanted)) if wanted else None, given.count("")


def _finders(answers: pa.ChunkedArray, method: str) -> tuple[dict[int, Finder], int]:
    """By query row, for those that have answers; and how many answers are left out."""
    made = [finder(given or (), method) for given in answers.to_pylist()]
    return {row: one for row, (one, _) in enumerate(made) if one is not None}, sum(count for _, count in made)


def _compiled(answer: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(unicodedata.normalize("NFD", answer), re.IGNORECASE | re.MULTILINE) if answer and answer.strip() else None
    except (re.error, OverflowError, RecursionError):
        return None


def _prepared(work: Work, address: Ints, method: str) -> list[str]:
    documents = take_texts(work.storage, work.job.inputs["documents"], *split(address), ["title", "text"])
    text = pc.fill_null(documents["text"], "")
    texts = pc.if_else(pc.equal(text, ""), pc.fill_null(documents["title"], ""), text).to_pylist()
    return [token_line(one) if method == "string" else unicodedata.normalize("NFD", one) for one in texts]
