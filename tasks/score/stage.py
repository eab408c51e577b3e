"""Stage ``score``: the teacher's logit for each candidate pair within its depth, in blocks that a crash can lose."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.models.fingerprint import ModelSpec
from tasks.runner.stage import Job, Stage
from tasks.score.pair_store import pin
from tasks.score.pairs import blocks, to_score
from tasks.store.manifest import Part
from tasks.store.storage import Storage
from tasks.store.tables import read_table

STAGE = Stage(name="score", version=1, function="tasks.score.run:run", unit="pairs")


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
    """
    by_index = {part.index: part for part in queries}
    docs = tuple(part.only("docs.parquet") for part in documents)
    options = {
        "spec": spec.model_dump(mode="json"),
        "segments": [record.model_dump(mode="json") for record in pin(storage, spec.fingerprint)],
        "teacher": None if teacher is None else teacher.model_dump(mode="json"),
    }
    made = []
    for part in candidates:
        table = read_table(storage, part.file("candidates.parquet"), ["query_id", "is_positive", *(f"{source}_rank" for source in sources)])
        wanted = to_score(table, depth, sources)
        for number, (start, stop, pairs) in enumerate(blocks(table["query_id"], wanted, pairs_per_partition)):
            made.append(
                Job(
                    index=f"{part.index}.b{number:03d}",
                    inputs={
                        "candidates": (part.only("candidates.parquet"),),
                        "queries": (by_index[part.index].only("queries.parquet"),),
                        "documents": docs,
                    },
                    settings={"teacher": spec.fingerprint, "depth": depth, "sources": list(sources), "start": start, "stop": stop},
                    options=options,
                    units=pairs,
                )
            )
    return made
