"""Which candidates the teacher must still score before nothing that a recipe draws can change.

The recipe is applied as if every candidate that waits for a score passed all rules over the teacher's scores. What can be drawn then is all
that can be drawn at last, in the same order, and more. So where nothing that waits is drawn, what is drawn is final; else what waits among
the drawn is scored, and the recipe is applied again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from tasks.select.base import Base, Bools, base_of, encode
from tasks.select.columns import asks_teacher
from tasks.select.constraints import beyond, shared_values, shares, takeable
from tasks.select.decide import Decided, draw_all, judge
from tasks.select.draws import Draw, Top
from tasks.select.reasons import Reasons
from tasks.select.recipe import Recipe
from tasks.select.stopping import by_teacher

PENDING = "_pending"


def to_ask(table: pa.Table, recipe: Recipe, sources: list[str], wave: int) -> Bools:
    """(rows,) the candidates to score next; none: nothing that the recipe draws can change any more.

    From the second wave on queries that are still open are asked for more than must be, twice as many each time: few waves are needed then.

    Args:
        table: from :func:`tasks.select.base.prepare`, with :data:`PENDING`: a score is to be had and not known yet.
        recipe: one whose ``needs_all_scores`` is empty.
        sources: the round's.
        wave: from 1.
    """
    asked = _ask(table, recipe, sources, 0)
    ahead = 2 ** (wave - 2) if wave > 1 else 0
    if ahead and asked.any():
        query = encode(table["query_id"])
        rows = np.flatnonzero(np.isin(query, query[asked]))
        asked[rows[_ask(table.take(pa.array(rows)), _deeper(recipe, ahead), sources, ahead)]] = True
    positive = table["is_positive"].fill_null(False).to_numpy(zero_copy_only=False).astype(np.bool_)
    asked |= positive & _pending(table)
    return asked


@dataclass(frozen=True)
class _Hopeful:
    """A recipe applied as if what waits passed.

    Args:
        base: the candidates.
        decided: what it draws.
        waiting: (n,) who has no score yet.
        contested: (n,) whom a limit weighs, directly or by others, against some that wait: the limit is not applied to them.
    """

    base: Base
    decided: Decided
    waiting: Bools
    contested: Bools


def _ask(table: pa.Table, recipe: Recipe, sources: list[str], ahead: int) -> Bools:
    """(rows,) what waits among the drawn; of those that a limit weighs against each other no more than may stay, and ``ahead``."""
    found = _apply(table, recipe, sources)
    base, waiting = found.base, found.waiting
    seen = _seen(found, recipe)
    asked = seen & waiting
    stuck = np.zeros(base.groups, np.bool_)  # nothing that is drawn waits, but a limit may yet refuse some of it
    stuck[base.group[seen & found.contested]] = True
    stuck[base.group[asked]] = False
    for _, values, most in shared_values(base, recipe):
        asked &= ~beyond(base, found.decided.reasons.count, asked, values, most + ahead)
    asked |= found.contested & waiting & stuck[base.group]
    rows = np.zeros(table.num_rows, np.bool_)
    rows[base.row[asked]] = True
    return rows


def _apply(table: pa.Table, recipe: Recipe, sources: list[str]) -> _Hopeful:
    base = base_of(table, recipe, sources)
    waiting = _pending(table)[base.row] & ~base.positive
    base = replace(base, view=base.view.append_column("_waiting", pa.array(waiting)))
    reasons, contested = _constrained(base, recipe, judge(base, recipe, hopeful=True), waiting)
    nobody = np.zeros(len(waiting), np.bool_)
    return _Hopeful(base, draw_all(base, _widened(recipe), reasons, nobody), waiting, contested)


def _constrained(base: Base, recipe: Recipe, reasons: Reasons, waiting: Bools) -> tuple[Reasons, Bools]:
    """Limits within a query, applied where nothing that waits takes part; and who is contested."""
    contested = np.zeros(len(waiting), np.bool_)
    for reason, values, most in shared_values(base, recipe):
        free = ~base.positive & takeable(recipe, reasons)
        refused = beyond(base, reasons.count, free, values, most)
        still = free & shares(base.group, values, refused) & shares(base.group, values, free & (waiting | contested))
        reasons = reasons.add(refused & ~still, reason)
        contested = contested | still
    return reasons, contested


def _seen(found: _Hopeful, recipe: Recipe) -> Bools:
    """(n,) on whom the draws rest: the drawn, survivors to the end of slices, what waits where a draw by the teacher's order fills up."""
    rank, base = found.decided.survivor_rank, found.base
    seen = np.zeros(len(rank), np.bool_)
    for drawn in found.decided.stages:
        seen |= drawn.draw >= 0
        for number, draw in enumerate(drawn.draws):
            last = _last(recipe, draw)
            seen |= (rank > 0) & (rank <= last)
            if by_teacher(draw):
                taken = np.bincount(base.group[(drawn.draw >= 0) & (drawn.draw < number)], minlength=base.groups)
                allowed = found.decided.reasons.where(draw.allows)
                seen |= found.waiting & allowed & (taken < recipe.num_negatives)[base.group]
    return seen


def _last(recipe: Recipe, draw: Draw) -> int:
    """The last survivor whose place matters for a draw from a slice; what is drawn in the ranking's own order ends where it is filled."""
    in_order = isinstance(draw.order, Top) and draw.order.by == recipe.rank_by
    return draw.survivor_min if in_order or draw.survivor_max is None else draw.survivor_max


def _widened(recipe: Recipe) -> Recipe:
    """The recipe with pools that take whatever waits, where they go by the teacher's scores."""

    def widened(draw: Draw) -> Draw:
        by_score = draw.pool is not None and asks_teacher(draw.pool)
        return draw.model_copy(update={"pool": f"_waiting OR coalesce(({draw.pool}), false)"}) if by_score else draw

    return recipe.model_copy(update={"draws": tuple(map(widened, recipe.draws))})


def _deeper(recipe: Recipe, ahead: int) -> Recipe:
    """The recipe with so many more negatives."""
    draws = [
        draw.model_copy(
            update={
                "take": draw.take and draw.take + ahead,
                "survivor_max": draw.survivor_max and draw.survivor_max + ahead,
            }
        )
        for draw in recipe.draws
    ]
    return recipe.model_copy(update={"draws": tuple(draws), "num_negatives": recipe.num_negatives + ahead})


def _pending(table: pa.Table) -> Bools:
    marks: Bools = table[PENDING].to_numpy(zero_copy_only=False).astype(np.bool_)
    return marks
