"""Feature ``judged``: what a judge said of a candidate, from a table of judgements in the root.

Source: RLHN (Thakur et al. 2025, arXiv:2505.16967) [paper].
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tasks.features.base import Call, FeatureInputs, row_jobs, write_features
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import JUDGEMENTS
from tasks.settings import Settings
from tasks.store.manifest import Part, StageManifest
from tasks.store.output import Output
from tasks.store.tables import read_kept

STAGE = Stage(name="feature-judged", version=1, function="tasks.features.judged:run", unit="candidates")


class JudgedSettings(Settings):
    """The judgements: a file of the root by its content; `hardmine judge` sets it."""

    path: str = Field("", description="Under the root; empty: nothing is judged.")
    bytes: int = Field(0, ge=0, description="Its size.")
    checksum: str = Field("", description="Its checksum.")


def build(call: Call, inputs: FeatureInputs, settings: JudgedSettings) -> StageManifest:
    """The one stage."""
    return call(STAGE, jobs(inputs.scored, settings))


def jobs(scored: Sequence[Part], settings: JudgedSettings) -> list[Job]:
    """One job a part of the scored table. The file's path is its content, and so part of the key."""
    return row_jobs(scored, {}, settings=settings.model_dump(mode="json"))


def run(work: Work, out: Output) -> None:
    """Write ``judge_relevance`` and ``judged_by``; NULL where nobody was asked, or nobody answered."""
    settings = JudgedSettings.model_validate(dict(work.job.settings))
    table = work.table("scored", "scored.parquet", ["query_id", "doc_id"])
    judged = JUDGEMENTS.empty_table()
    if settings.path:
        judged = read_kept(work.storage, settings.path, settings.bytes, settings.checksum)
    place = pc.index_in(_keys(table), value_set=_keys(judged))
    by = judged["decided_by"].take(place)
    by = pc.if_else(pc.equal(by, ""), pa.scalar(None, pa.string()), by)
    write_features(work, out, "judged", {"judge_relevance": judged["relevance"].take(place), "judged_by": by})


def _keys(table: pa.Table) -> pa.Array:
    """One string a pair."""
    joined = pc.binary_join_element_wise(table["query_id"], table["doc_id"], "\x1f")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined
