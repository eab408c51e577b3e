"""Stage ``score``: the teacher's logit for each candidate pair within its depth, in blocks that a crash can lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tasks.folds import Fold
from tasks.models.fingerprint import ModelSpec
from tasks.runner.stage import Job, Stage
from tasks.score.pair_store import pin
from tasks.score.pairs import blocks, marked, of_fold
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import read_table
from tasks.teacher import to_score

STAGE = Stage(name="score", version=1, function="tasks.score.run:run", unit="pairs", model=True, splits=True)


@dataclass(frozen=True)
class Asked:
    """Some of the candidates, where the teacher is asked for no more than a selection needs.

    Args:
        parts: parts with asked.parquet, in the order of the candidates: ``row`` of each that is to be scored now.
        key: of the selections that need them.
        wave: counts how often the teacher was asked, from 1.
    """

    parts: Sequence[Part]
    key: str
    wave: int


def jobs(
    storage: Storage,
    candidates: Sequence[Part],
    queries: Sequence[Part],
    documents: Sequence[Part],
    spec: ModelSpec,
    depth: int,
    sources: Sequence[str],
    pairs_per_partition: int = 20_000,
    teacher: Part | None = None,
    fold: Fold | None = None,
    fold_seed: int = 0,
    asked: Asked | None = None,
) -> list[Job]:
    """Jobs ``q0000.b000`` …: blocks of whole queries, in the candidates' order. Pins the pair store as it is now.

    Args:
        storage: the root; only ranks and query ids of the candidates are read.
        candidates: committed parts, one a query partition.
        queries: committed parts of the same partitions.
        documents: all document parts, in order.
        spec: :func:`tasks.models.fingerprint.teacher_spec`.
        depth: worst rank that is scored.
        sources: whose ranks count.
        pairs_per_partition: pairs of a block.
        teacher: the ``train-teacher`` part that the model lies in; workers then fetch it from the root.
        fold: only queries of this fold of the groups are scored; jobs are named ``q0000.f0.b000``.
        fold_seed: of the folds.
        asked: only these candidates are scored; jobs are named ``q0000.w01.b000``, and partitions without any have none.
    """
    by_index = {part.index: part for part in queries}
    docs = tuple(part.only("docs.parquet") for part in documents)
    options = {
        "spec": spec.model_dump(mode="json"),
        "segments": [record.model_dump(mode="json") for record in pin(storage, spec.fingerprint)],
        "teacher": None if teacher is None else teacher.model_dump(mode="json"),
    }
    stem = ("" if asked is None else f"w{asked.wave:02d}.") + ("" if fold is None else f"f{fold.number}.")
    keyed: dict[str, Any] = {} if fold is None else {"fold": [fold.number, fold.count, fold_seed]}
    keyed |= {} if asked is None else {"lazy": asked.key}
    made = []
    for place, part in enumerate(candidates):
        columns = ["query_id", "query_row", "is_positive", *(f"{source}_rank" for source in sources)]
        table = read_table(storage, part.file("candidates.parquet"), columns)
        rows = {} if asked is None else {"asked": (asked.parts[place].only("asked.parquet"),)}
        if asked is None:
            wanted = to_score(table, depth, sources)
        else:
            wanted = marked(read_table(storage, asked.parts[place].file("asked.parquet")), table.num_rows)
        if fold is not None:
            wanted &= of_fold(
                table, read_table(storage, by_index[part.index].file("queries.parquet"), ["query_id", "group"]), fold, fold_seed
            )
        for number, (start, stop, pairs) in enumerate(blocks(table["query_id"], wanted, pairs_per_partition)):
            if asked is not None and not pairs:
                continue
            made.append(
                Job(
                    index=f"{part.index}.{stem}b{number:03d}",
                    inputs={
                        "candidates": (part.only("candidates.parquet"),),
                        "queries": (by_index[part.index].only("queries.parquet"),),
                        "documents": docs,
                        **rows,
                    },
                    settings={"teacher": spec.fingerprint, "depth": depth, "sources": list(sources), "start": start, "stop": stop, **keyed},
                    options=options,
                    units=pairs,
                )
            )
    return made


def count(storage: Storage, candidates: Sequence[Part], depth: int, sources: Sequence[str]) -> int:
    """How many pairs there are to score, whether the pair store has them or not."""
    columns = ["is_positive", *(f"{source}_rank" for source in sources)]
    return sum(int(to_score(read_table(storage, part.file("candidates.parquet"), columns), depth, sources).sum()) for part in candidates)
