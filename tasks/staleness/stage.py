"""Stages ``staleness`` and ``staleness-summary``: earlier rounds' negatives under a checkpoint, from vectors that are there.

A job takes one query partition under one checkpoint and all earlier selections at once, since the product of its queries with all
documents is what costs. The same stage looks at each round's negatives under its own checkpoint: that is what they began with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tasks.runner.stage import Job, Stage
from tasks.staleness.settings import SCALE, StalenessSettings
from tasks.store.manifest import Part

STAGE = Stage(name="staleness", version=1, function="tasks.staleness.run:run", unit="documents")
SUMMARY = Stage(name="staleness-summary", version=2, function="tasks.staleness.summarise:run", unit="selections")


@dataclass(frozen=True)
class Checkpoint:
    """A round's corpus, and its vectors under the round's checkpoint.

    Args:
        queries: parts with queries.parquet.
        query_vectors: parts of ``embed-queries``, in the same order.
        documents: parts with docs.parquet.
        document_vectors: parts of ``embed-documents``, in the same order.
        scored: parts with scored.parquet, in the order of ``queries``: the checkpoint's own candidates.
    """

    queries: Sequence[Part]
    query_vectors: Sequence[Part]
    documents: Sequence[Part]
    document_vectors: Sequence[Part]
    scored: Sequence[Part]


@dataclass(frozen=True)
class Earlier:
    """One selection of an earlier round.

    Args:
        round: its number.
        recipe: that made the selection.
        selection_id: of the selection.
        select: parts with rows.parquet.
        scored: parts with scored.parquet, in the same order.
        documents: the round's document parts: are they the later round's own?
        emitted: parts with rows.parquet of the later round's selection that follows this one; none: under its own checkpoint.
        age: trainings between the two checkpoints.
        steps: steps of those trainings; none: not known.
        floor: overlap of the two rounds' candidates that search errors and seeds alone would leave.
        trained_on: whether trainings behind the later checkpoint took this selection's rows; none: not known.
    """

    round: int
    recipe: str
    selection_id: str
    select: Sequence[Part]
    scored: Sequence[Part]
    documents: Sequence[Part]
    emitted: Sequence[Part] = ()
    age: int = 0
    steps: int | None = None
    floor: float = 1.0
    trained_on: bool | None = None

    def alone(self) -> Earlier:
        """The same without what a later round brings: to be looked at under its own checkpoint."""
        return replace(self, emitted=(), age=0, steps=None, floor=1.0, trained_on=None)


def jobs(checkpoint: Checkpoint, earlier: Sequence[Earlier], settings: StalenessSettings) -> list[Job]:
    """One job a query partition of the checkpoint's round; units are documents.

    Args:
        checkpoint: under which negatives are looked at.
        earlier: the selections; at least one.
        settings: scale, margin and what else decides a query's values.
    """
    total = sum(part.file("queries.parquet").rows or 0 for part in checkpoint.queries)
    keyed = {
        "scale": settings.scale or SCALE,
        "rank_share": min(1.0, settings.rank_queries / total) if settings.rank_queries and total else 1.0,
        **settings.model_dump(mode="json", include={"margin", "overlap_k", "rbo_p", "trained_share", "share_seed"}),
        "selections": [_named(each, checkpoint) for each in earlier],
    }
    units = sum(part.file("docs.parquet").rows or 0 for part in checkpoint.documents)
    made = []
    for at, queries in enumerate(checkpoint.queries):
        inputs = {
            "queries": (queries.only("queries.parquet"),),
            "query_vectors": (checkpoint.query_vectors[at].only("vectors.npy"),),
            "documents": tuple(part.only("docs.parquet") for part in checkpoint.documents),
            "document_vectors": tuple(part.only("vectors.npy") for part in checkpoint.document_vectors),
            "scored": (checkpoint.scored[at].only("scored.parquet"),),
        }
        for number, each in enumerate(earlier):
            count = len(checkpoint.queries)
            inputs[f"select.{number}"] = _of_partition(each.select, "rows.parquet", at, count)
            inputs[f"scored.{number}"] = _of_partition(each.scored, "scored.parquet", at, count)
            inputs[f"emitted.{number}"] = _of_partition(each.emitted, "rows.parquet", at, count)
        made.append(Job(index=queries.index, inputs=inputs, settings=keyed, units=max(1, units)))
    return made


def summary_jobs(
    found: Sequence[Part], own: Sequence[Part], queries: Sequence[Part], earlier: Sequence[Earlier], settings: StalenessSettings
) -> list[Job]:
    """The one job ``summary``.

    Args:
        found: parts of ``staleness`` under the later checkpoint.
        own: parts of ``staleness`` of the same selections, each under its own round's checkpoint.
        queries: parts with queries.parquet of the later checkpoint's round: which queries are of one group.
        earlier: as they were given to :func:`jobs`.
        settings: of the bootstrap.
    """
    selections = [
        {"round": each.round, "recipe": each.recipe, "selection_id": each.selection_id, "age": each.age, "steps": each.steps,
         "floor": each.floor, "trained_on": each.trained_on, "compared": bool(each.emitted)}
        for each in earlier
    ]  # fmt: skip
    keyed = {"selections": selections, **settings.model_dump(mode="json", include={"resamples", "confidence", "seed"})}
    inputs = {
        "found": tuple(part.only("queries.parquet") for part in found),
        "own": tuple(part.only("queries.parquet") for part in own),
        "asked": tuple(part.only("queries.parquet") for part in queries),
    }
    return [Job(index="summary", inputs=inputs, settings=keyed, units=len(earlier))]


def _named(each: Earlier, checkpoint: Checkpoint) -> dict[str, Any]:
    same = [part.only("docs.parquet").checksum for part in each.documents] == [
        part.only("docs.parquet").checksum for part in checkpoint.documents
    ]
    return {"round": each.round, "recipe": each.recipe, "selection_id": each.selection_id, "same_documents": same}


def _of_partition(parts: Sequence[Part], name: str, at: int, count: int) -> tuple[Part, ...]:
    """The part that holds the same queries (they are spread by a hash of their ids), or all where the counts differ."""
    return tuple(part.only(name) for part in (parts[at : at + 1] if len(parts) == count else parts))
