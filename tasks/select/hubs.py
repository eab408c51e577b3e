"""Stage ``hub-limits``: the limits that must be decided over all queries together.

How many queries may have a document as a negative (``queries_per_document``), and how many training rows a positive may have
(``rows_per_positive``). Only queries that may be trained on count and are limited, where there are any: those that calibrate, choose or
test get no training row, and must not decide about those that do.

One job over all partitions. Candidates are laid out in scratch files that are memory-mapped, so that one partition is in memory at a time,
and a query that selects again is read alone.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.models.order import is_trained
from tasks.runner.stage import Job, Report, Stage, Work
from tasks.select.base import Ints, among, counted, encode, in_order, prepare
from tasks.select.decide import Decided, decide
from tasks.select.diversity import vectors_of
from tasks.select.inputs import Features, check_whole, feature_parts, read_candidates, vector_parts
from tasks.select.randomness import id_hashes, uniform
from tasks.select.recipe import Recipe
from tasks.select.refuse import PAIRS, WANTED, Refused, refuse, surplus
from tasks.sql import run as run_sql
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.vectors import Addressed, stored_vectors

STAGE = Stage(name="hub-limits", version=2, function="tasks.select.hubs:run", unit="candidates")


def jobs(
    scored: Sequence[Part],
    recipe: Recipe,
    sources: Sequence[str],
    seed: int,
    features: Features | None = None,
    vectors: Sequence[Part] = (),
    queries: Sequence[Part] = (),
) -> list[Job]:
    """One job over all partitions; see :func:`tasks.select.stage.jobs`, and for ``queries`` :func:`tasks.select.task.select`."""
    check_whole(scored, recipe, seed)
    settings = {"recipe": recipe.model_dump(mode="json"), "sources": list(sources), "seed": seed}
    parts = tuple(part.only("scored.parquet") for part in scored)
    inputs = {"scored": parts, **feature_parts(recipe, features or {}, len(scored)), **vector_parts(recipe, vectors)}
    if queries:
        inputs["splits"] = tuple(part.only("queries.parquet") for part in queries)
    units = sum(part.file("scored.parquet").rows or 0 for part in scored)
    return [Job(index="all", inputs=inputs, settings=settings, units=units)]


def run(work: Work, out: Output) -> None:
    """Write ``banned.parquet`` (query_id, doc_id: no negative of that query) and ``anchors.parquet`` (query_id, doc_id: no row with it).

    Meta: ``hubs``, the 20 most wanted documents as [doc_id, queries that wanted it, cap]; ``rounds`` of refusals.
    """
    settings = work.job.settings
    recipe = Recipe.model_validate(settings["recipe"])
    folder = work.storage.scratch() / uuid.uuid4().hex
    folder.mkdir(parents=True)
    try:
        vectors = stored_vectors(work.storage, work.job.inputs["vectors"]) if "vectors" in work.job.inputs else None
        parts = _lay_out(work, recipe, folder)
        capped, refused = limit(Candidates(recipe, list(settings["sources"]), int(settings["seed"]), parts, vectors), work.report)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    out.table("banned.parquet", refused.banned)
    out.table("anchors.parquet", capped)
    out.meta.update(hubs=[list(entry) for entry in refused.most], rounds=refused.rounds)
    out.count(model_calls=0)


@dataclass(frozen=True)
class Candidates:
    """All candidates of a round, and how to select from them.

    Args:
        recipe: what to apply.
        sources: the round's.
        seed: of all random draws.
        parts: from :func:`tasks.select.base.prepare`; may be memory-mapped.
        vectors: of documents, if the recipe wants diversity.
    """

    recipe: Recipe
    sources: list[str]
    seed: int
    parts: Sequence[pa.Table]
    vectors: Addressed | None = None

    def decide(self, table: pa.Table, banned: pa.Table | None = None) -> Decided:
        """Select from some of the candidates."""
        return decide(table, self.recipe, self.sources, None if banned is None else among(table, banned), vectors_of(table, self.vectors))


def limit(candidates: Candidates, report: Report = lambda _: None) -> tuple[pa.Table, Refused]:
    """Decide the global limits.

    Only training rows count: a query without a row uses no document, whatever its decisions say.

    Args:
        candidates: all of them.
        report: told of candidates that were selected from.

    Returns:
        (positives that get no row, :data:`tasks.select.refuse.PAIRS`; what the documents refuse).
    """
    recipe, limits = candidates.recipe, candidates.recipe.limits
    wanted, rows = [], []
    for part in candidates.parts:
        decided = candidates.decide(part)
        wanted.append(_wanted(decided, candidates.seed))
        rows.append(_rows(decided, candidates.seed))
        report(part.num_rows)
    everyone = pa.concat_tables(rows)
    capped = surplus(everyone, limits.rows_per_positive) if limits.rows_per_positive is not None else PAIRS.empty_table()
    if limits.queries_per_document is None:
        return capped, Refused(PAIRS.empty_table(), [], 0)
    kept = run_sql(
        "SELECT query_id, doc_id FROM everyone ANTI JOIN capped USING (query_id, doc_id)", {"everyone": everyone, "capped": capped}
    )
    index = [_Index.of(part) for part in candidates.parts]

    def again(queries: pa.Table, banned: pa.Table) -> pa.Table:
        table = pa.concat_tables([part.take(pa.array(found.rows(queries))) for part, found in zip(candidates.parts, index, strict=True)])
        return _used(_wanted(candidates.decide(in_order(table.combine_chunks()), banned), candidates.seed), kept, recipe.per_positive)

    return capped, refuse(_used(pa.concat_tables(wanted), kept, recipe.per_positive), limits.queries_per_document, again)


@dataclass(frozen=True)
class _Index:
    """Where each query's candidates lie in a sorted table."""

    queries: pa.Array
    start: Ints
    size: Ints

    @classmethod
    def of(cls, table: pa.Table) -> _Index:
        codes = encode(table["query_id"])
        start = np.flatnonzero(counted(codes) == 0)
        return cls(table["query_id"].take(pa.array(start)).combine_chunks(), start, np.diff(np.append(start, len(codes))))

    def rows(self, queries: pa.Table) -> Ints:
        """Rows of some queries; queries that are not here are passed over."""
        found = np.sort(pc.index_in(queries["query_id"], value_set=self.queries).drop_null().to_numpy().astype(np.int64))
        size = self.size[found]
        rows: Ints = np.repeat(self.start[found] - (np.cumsum(size) - size), size) + np.arange(int(size.sum()))
        return rows


def _wanted(decided: Decided, seed: int) -> pa.Table:
    """The negatives of all training stages: WANTED's columns, and ``anchor``, the positive that each is for (NULL: all)."""
    base = decided.base
    place = np.flatnonzero(np.any([drawn.slot > 0 for drawn in decided.stages], axis=0))
    row, anchor = base.row[place], base.anchor[place]
    query, doc = base.table["query_id"].take(pa.array(row)), base.table["doc_id"].take(pa.array(row))
    columns = {
        "query_id": query,
        "doc_id": doc,
        "score": base.view[decided.rank_by].take(pa.array(place)).cast(pa.float64()),
        "u": pa.array(uniform(["hub_limit", seed], id_hashes(query), id_hashes(doc))),
        "anchor": base.table["doc_id"].take(pa.array(anchor, mask=anchor < 0)),
    }
    return pa.table(columns)


def _rows(decided: Decided, seed: int) -> pa.Table:
    """The training rows before any cap: query_id, doc_id of the positive, u."""
    base = decided.base
    row = np.unique(base.row[base.positive | decided.pseudo])
    chosen = base.table.select(PAIRS.names).take(pa.array(row))
    u = uniform(["rows_per_positive", seed], id_hashes(chosen["query_id"]), id_hashes(chosen["doc_id"]))
    return chosen.append_column("u", pa.array(u))


def _used(wanted: pa.Table, kept: pa.Table, per_positive: bool) -> pa.Table:
    """What is wanted by some training row; each pair once."""
    own = " AND k.doc_id = w.anchor" if per_positive else ""
    sql = f"SELECT DISTINCT query_id, doc_id, score, u FROM wanted w SEMI JOIN kept k ON k.query_id = w.query_id{own}"
    return run_sql(sql, {"wanted": wanted, "kept": kept}).cast(WANTED)


def _counted(work: Work) -> list[pa.Array] | None:
    """Ids of each partition's queries that may be trained on; none: all count, as there are no splits or nothing to train on."""
    tables = [work.part_table(part, "queries.parquet", ["query_id", "split"]) for part in work.job.inputs.get("splits", ())]
    found = [table["query_id"].filter(is_trained(table["split"])).combine_chunks() for table in tables]
    return found if any(len(ids) for ids in found) else None


def _lay_out(work: Work, recipe: Recipe, folder: Path) -> list[pa.Table]:
    """Prepared candidates of each partition's queries that count, in memory-mapped files."""
    tables, counts = [], _counted(work)
    for number in range(len(work.job.inputs["scored"])):
        whole = read_candidates(work, recipe, number)
        own = whole if counts is None else whole.filter(pc.is_in(whole["query_id"], value_set=counts[number]))
        work.report(whole.num_rows - own.num_rows)
        table = prepare(own, recipe, int(work.job.settings["seed"]))
        path = str(folder / f"{number}.arrow")
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
        tables.append(pa.ipc.open_file(pa.memory_map(path)).read_all())
    return tables
