"""Stage ``asking``: which candidates the teacher must be asked about next, so that a selection is that of a teacher who scored all of them.

Asked once more after each answer, until a part has nothing to ask; see :mod:`tasks.select.unsure`. The selection from what was scored
then is the same as from all scores. Planted positives are asked about too, and what they would compete with: stage ``probe`` draws them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.errors import UsageError
from tasks.groups import Groups, positive_columns
from tasks.runner.stage import Job, Stage, Work
from tasks.schema import PAIRS
from tasks.select.base import Bools, among, prepare
from tasks.select.inputs import Features, feature_parts, read_candidates
from tasks.select.probe import planted_candidates, unhidden
from tasks.select.recipe import Recipe
from tasks.select.unsure import PENDING, to_ask
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.teacher import pair_keys, teacher_columns, to_score

STAGE = Stage(name="asking", version=1, function="tasks.select.asking:run", unit="candidates")

_ROW = "_candidate"


def check_lazy(recipe: Recipe) -> None:
    """Refuse a lazy teacher where the recipe must know all scores.

    Raises:
        UsageError: why it must.
    """
    if recipe.needs_all_scores:
        raise UsageError(
            f"recipe {recipe.name!r} does not go with teacher.lazy: {recipe.needs_all_scores}",
            "set teacher.lazy: false, or choose another recipe",
        )


def jobs(
    scored: Sequence[Part],
    pairs: Sequence[Part],
    recipe: Recipe,
    sources: Sequence[str],
    teacher: Mapping[str, Any],
    seed: int,
    features: Features | None = None,
    wave: int = 1,
) -> list[Job]:
    """One job a partition.

    Args:
        scored: parts with scored.parquet, of a table without a teacher's scores.
        pairs: parts of ``score``, of all query partitions: what the teacher has said (``q0000.w01.b000`` belongs to ``q0000``).
        recipe: what is to be decided.
        sources: the round's.
        teacher: ``depth``, ``sources`` and ``activation``: what it would score, and how its logits are read.
        seed: of all random draws.
        features: parts by feature, each in the order of ``scored``.
        wave: how often the teacher is asked with this, from 1.

    Raises:
        UsageError: the recipe must know all scores, or a feature that it needs is not given.
    """
    check_lazy(recipe)
    joined = feature_parts(recipe, features or {}, len(scored))
    answered: dict[str, list[Part]] = {}
    for part in pairs:
        answered.setdefault(part.index.split(".")[0], []).append(part.only("pairs.parquet"))
    settings = {
        "recipe": recipe.model_dump(mode="json"),
        "sources": list(sources),
        "teacher": dict(teacher),
        "seed": seed,
        "wave": wave,
    }
    return [
        Job(
            index=part.index,
            inputs={
                "scored": (part.only("scored.parquet"),),
                "pairs": tuple(answered.get(part.index, ())),
                **{role: (parts[number],) for role, parts in joined.items()},
            },
            settings=settings,
            units=part.file("scored.parquet").rows or 0,
        )
        for number, part in enumerate(scored)
    ]


def run(work: Work, out: Output) -> None:
    """Write ``asked.parquet``: ``row`` of each candidate to score, in the scored table, ascending.

    Meta: pairs (different ones that a teacher scores who is not lazy), scored (of them), asked (of them).
    """
    settings = work.job.settings
    recipe, sources, teacher = Recipe.model_validate(settings["recipe"]), list(settings["sources"]), settings["teacher"]
    ranks = [f"{source}_rank" for source in teacher["sources"]]
    whole = work.table("scored", "scored.parquet", ["query_row", "is_positive", "query_hash", "doc_hash", *ranks])
    pairs = work.table("pairs", "pairs.parquet") if work.job.inputs["pairs"] else PAIRS.empty_table()
    columns = _teacher_columns(whole, pairs, str(teacher["activation"]))
    keys = pair_keys(whole)
    due = keys.filter(pa.array(to_score(whole, int(teacher["depth"]), teacher["sources"]))).unique()
    pending = pc.and_(pc.is_in(keys, value_set=due), columns["teacher_logit"].is_null())
    table = read_candidates(work, recipe)
    for name in table.column_names:
        if name in columns:
            table = table.set_column(table.column_names.index(name), name, columns[name])
    table = table.append_column(PENDING, pending).append_column(_ROW, pa.array(np.arange(table.num_rows)))
    rows = _rows(table, recipe, sources, int(settings["seed"]), int(settings["wave"]))
    planted = planted_candidates(work, sources)
    if planted.num_rows:
        rows |= among(table, planted) & pending.to_numpy(zero_copy_only=False)
        rows |= _rows(unhidden(table, planted), recipe, sources, int(settings["seed"]), int(settings["wave"]), len(rows))
    out.table("asked.parquet", pa.table({"row": pa.array(np.flatnonzero(rows))}))
    asked = keys.filter(pa.array(rows)).unique()
    out.meta.update(pairs=len(due), scored=len(due) - len(keys.filter(pending).unique()), asked=len(asked))
    out.count(model_calls=0)


def _rows(table: pa.Table, recipe: Recipe, sources: list[str], seed: int, wave: int, size: int | None = None) -> Bools:
    """(size,) the rows to ask about, of all of the partition's."""
    ready = prepare(table, recipe, seed)
    marks = np.zeros(table.num_rows if size is None else size, np.bool_)
    marks[ready[_ROW].to_numpy()[to_ask(ready, recipe, sources, wave)]] = True
    return marks


def _teacher_columns(table: pa.Table, pairs: pa.Table, activation: str) -> dict[str, pa.Array | pa.ChunkedArray]:
    """The teacher's columns, and those of its positives' scores, as the scored table has them."""
    groups = Groups(table["query_row"].to_numpy(), table["is_positive"].to_numpy())
    columns = teacher_columns(table, pairs, activation)
    return {**columns, **{name: column for score, own in columns.items() for name, column in positive_columns(groups, score, own).items()}}
