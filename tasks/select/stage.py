"""Stage ``select``: a recipe over each partition of the scored table. No model runs; one SQL query a training stage."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from tasks.runner.stage import Job, Stage, Work
from tasks.schema import DECISIONS, ROWS, score_columns
from tasks.select.compose import decisions_sql, rows_sql, uniform_column
from tasks.select.draws import Top
from tasks.select.randomness import id_hashes, uniform
from tasks.select.recipe import Recipe
from tasks.sql import run as run_sql
from tasks.store.keys import digest
from tasks.store.manifest import Part
from tasks.store.output import Output

STAGE = Stage(name="select", version=1, function="tasks.select.stage:run", unit="candidates")


def selection_id(candidate_set_id: str, recipe: Recipe, seed: int) -> str:
    """Identity of one selection: the scored table, the recipe as composed, the seed."""
    return digest(candidate_set_id, recipe.model_dump(mode="json"), seed)


def jobs(scored: Sequence[Part], recipe: Recipe, sources: Sequence[str], candidate_set_id: str, seed: int) -> list[Job]:
    """One job a partition of the scored table."""
    settings = {
        "recipe": recipe.model_dump(mode="json"),
        "sources": list(sources),
        "seed": seed,
        "selection_id": selection_id(candidate_set_id, recipe, seed),
    }
    return [
        Job(index=part.index, inputs={"scored": (part,)}, settings=settings, units=sum(file.rows or 0 for file in part.files))
        for part in scored
    ]


def run(work: Work, out: Output) -> None:
    """Write ``decisions.parquet`` and ``rows.parquet`` of one partition; counts by decision and reason go into meta."""
    settings = work.job.settings
    decisions, rows = select(
        work.table("scored", "scored.parquet"),
        Recipe.model_validate(settings["recipe"]),
        list(settings["sources"]),
        int(settings["seed"]),
        str(settings["selection_id"]),
    )
    out.table("decisions.parquet", decisions)
    out.table("rows.parquet", rows)
    out.meta.update(_counts(decisions, rows))
    out.count(model_calls=0)


def select(scored: pa.Table, recipe: Recipe, sources: list[str], seed: int, selection: str) -> tuple[pa.Table, pa.Table]:
    """Decide every candidate, and lay out the training rows.

    Args:
        scored: one partition, :func:`tasks.schema.scored`.
        recipe: what to apply.
        sources: the round's sources.
        seed: of all random draws.
        selection: the selection's id.

    Returns:
        (:data:`tasks.schema.DECISIONS` sorted by stage, query_id, positive_id, doc_id; :data:`tasks.schema.ROWS` sorted by row_no, slot).
    """
    scores = [name for name in score_columns(sources) if name in scored.column_names]
    table = _prepared(scored, recipe, seed)
    decided, laid_out = [], []
    for stage in recipe.stages or ["main"]:
        decisions = run_sql(decisions_sql(recipe, stage, scores, selection), {"scored": table}).select(DECISIONS.names).cast(DECISIONS)
        rows = run_sql(rows_sql(stage, selection), {"scored": table, "decisions": decisions})
        decided.append(decisions)
        laid_out.append(rows.select(ROWS.names).cast(ROWS))
    return pa.concat_tables(decided), pa.concat_tables(laid_out)


def _prepared(scored: pa.Table, recipe: Recipe, seed: int) -> pa.Table:
    """Add what the SQL refers to: uniform numbers, and empty columns for sources that a truncated round lacks."""
    query, doc = id_hashes(scored["query_id"]), id_hashes(scored["doc_id"])
    table = scored
    for source in recipe.needs.sources:
        for column, kind in ((f"{source}_rank", pa.int32()), (f"{source}_score", pa.float32())):
            if column not in table.column_names:
                table = table.append_column(column, pa.nulls(table.num_rows, kind))
    table = table.append_column("u_row", pa.array(uniform(["rows", seed], query, doc)))
    for draw in recipe.draws:
        if not isinstance(draw.order, Top):
            table = table.append_column(uniform_column(draw), pa.array(uniform(["draw", seed, draw.stage, draw.name], query, doc)))
    return table


def _counts(decisions: pa.Table, rows: pa.Table) -> dict[str, dict[str, int]]:
    """Candidates by decision, rejected ones by first reason, queries by how many negatives they got."""
    by_decision = run_sql("SELECT decision AS name, count(*) AS n FROM decisions GROUP BY 1 ORDER BY 1", {"decisions": decisions})
    by_reason = run_sql(
        "SELECT reason AS name, count(*) AS n FROM decisions WHERE decision IN ('rejected', 'unscored') GROUP BY 1 ORDER BY 1",
        {"decisions": decisions},
    )
    served = run_sql(
        """SELECT n::VARCHAR AS name, count(*) AS n FROM
           (SELECT query_id, positive_id, count(*) FILTER (slot > 0) AS n FROM rows GROUP BY ALL) GROUP BY 1 ORDER BY 1""",
        {"rows": rows},
    )
    return {
        name: dict(zip(table["name"].to_pylist(), table["n"].to_pylist(), strict=True))
        for name, table in (("decisions", by_decision), ("reasons", by_reason), ("negatives_per_row", served))
    }
