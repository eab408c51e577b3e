"""Decide every candidate: rules, pseudo-positives, limits, ranks of the survivors, then the draws of each training stage."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.errors import UsageError
from tasks.select.base import Base, Bools, Floats, Ints, base_of, counted, integers
from tasks.select.check import blame, expressions
from tasks.select.compose import draw_sql, judge_sql
from tasks.select.constraints import constrain, takeable
from tasks.select.diversity import Vectors, diverse
from tasks.select.draws import Draw, Top
from tasks.select.reasons import Reasons
from tasks.select.recipe import Recipe
from tasks.sql import run as run_sql

COPY_RULES = ("duplicate", "near_duplicate", "near_duplicate_cosine")


@dataclass(frozen=True)
class Drawn:
    """What the draws of one training stage took.

    Args:
        stage: its name.
        draws: its draws, in order.
        draw: (n,) number of the draw that took a candidate; -1: none.
        passed: (n,) whether a draw's own order would have taken it and diversity passed it over.
        label: (n,) float32 training label of what was taken.
        weight: (n,) float32 training weight; 1 for what was not taken.
        slot: (n,) place among the group's negatives from 1, highest ``rank_by`` first; 0: no negative.
    """

    stage: str
    draws: tuple[Draw, ...]
    draw: Ints
    passed: Bools
    label: Floats
    weight: Floats
    slot: Ints


@dataclass(frozen=True)
class Decided:
    """Everything that is decided about n candidates.

    Args:
        base: the candidates.
        reasons: why each is rejected.
        pseudo: (n,) who is a pseudo-positive.
        survivor_rank: (n,) from 1; 0: no survivor.
        stages: what was drawn, by training stage.
        rank_by: the column that ranks.
    """

    base: Base
    reasons: Reasons
    pseudo: Bools
    survivor_rank: Ints
    stages: tuple[Drawn, ...]
    rank_by: str


def decide(table: pa.Table, recipe: Recipe, sources: list[str], banned: Bools | None = None, vectors: Vectors | None = None) -> Decided:
    """Apply a recipe.

    Args:
        table: from :func:`tasks.select.base.prepare`.
        recipe: what to apply.
        sources: the round's.
        banned: which rows of the table may be no negatives; none by default.
        vectors: of the table's rows; needed for diversity.

    Raises:
        UsageError: SQL of the recipe fails on some value (which, and why), or vectors are missing.
    """
    if recipe.limits.diversity is not None and vectors is None:
        raise UsageError(f"recipe {recipe.name!r}: limits.diversity needs the documents' vectors", "give them, or leave diversity out")
    base = base_of(table, recipe, sources)
    reasons = judge(base, recipe)
    pseudo = _pseudo_positives(base, recipe, reasons)
    if banned is not None:
        reasons = reasons.add(banned[base.row] & ~base.positive, "hub_limit")
    return draw_all(base, recipe, constrain(base, recipe, reasons, pseudo), pseudo, vectors)


def judge(base: Base, recipe: Recipe, hopeful: bool = False) -> Reasons:
    """What the rules say of each candidate; ``hopeful``: see :func:`tasks.select.compose.judge_sql`."""
    found = _query(recipe, judge_sql(recipe, hopeful), base.view)
    return Reasons.parse(found["found"], integers(found["_place"]))


def draw_all(base: Base, recipe: Recipe, reasons: Reasons, pseudo: Bools, vectors: Vectors | None = None) -> Decided:
    """Rank the survivors, and run the draws of each training stage.

    Args:
        base: the candidates.
        recipe: its draws.
        reasons: why each is rejected.
        pseudo: (n,) who is a pseudo-positive.
        vectors: of the table's rows; needed for diversity.
    """
    survivor_rank = _ranked(base, ~base.positive & (reasons.count == 0))
    view = base.view.append_column("survivor_rank", pa.array(survivor_rank, pa.int32(), mask=survivor_rank == 0))
    if "reasons" in recipe.words:
        view = view.append_column("reasons", reasons.table())
    anyone = ~base.positive & ~pseudo & takeable(recipe, reasons)
    orders = _Orders(recipe, view, anyone)
    stages = tuple(_draw_stage(base, orders, stage, reasons, survivor_rank, vectors) for stage in recipe.stages)
    return Decided(base, reasons, pseudo, survivor_rank, stages, recipe.rank_by)


class _Orders:
    """What each draw may take, best first. Draws by one score under one condition share a query (CL-DRD has dozens of them).

    Args:
        recipe: the recipe.
        view: what SQL reads.
        anyone: (n,) whom some draw may take.
    """

    def __init__(self, recipe: Recipe, view: pa.Table, anyone: Bools) -> None:
        self.recipe = recipe
        self._view = view
        self.anyone = anyone
        # a place by a score does not depend on which other candidates are open
        self._shared = Counter(draw_sql(draw) for draw in recipe.draws if isinstance(draw.order, Top))
        self._known: dict[str, tuple[Ints, Floats]] = {}

    def of(self, draw: Draw, allowed: Bools) -> tuple[Ints, Floats]:
        """Places that a draw may take and their training weights, by group, best first."""
        sql = draw_sql(draw)
        if self._shared[sql] < 2:
            return self._ask(sql, allowed)
        if sql not in self._known:
            self._known[sql] = self._ask(sql, self.anyone)
        place, weight = self._known[sql]
        return place[allowed[place]], weight[allowed[place]]

    def _ask(self, sql: str, allowed: Bools) -> tuple[Ints, Floats]:
        found = _query(self.recipe, sql, self._view.append_column("_open", pa.array(allowed)))
        return integers(found["_place"]), found["_weight"].to_numpy()


def _draw_stage(base: Base, orders: _Orders, stage: str, reasons: Reasons, survivor_rank: Ints, vectors: Vectors | None) -> Drawn:
    recipe = orders.recipe
    draws = tuple(draw for draw in recipe.draws if draw.stage == stage)
    drawn, passed = np.full(len(base.row), -1), np.zeros(len(base.row), np.bool_)
    weight, label = np.ones(len(base.row), np.float32), np.zeros(len(base.row), np.float32)
    for number, draw in enumerate(draws):
        quota = _quota(base, recipe, draw, drawn)
        allowed = orders.anyone & reasons.where(draw.allows) & (drawn < 0) & (quota > 0)[base.group] & _within(draw, survivor_rank)
        if not allowed.any():
            continue
        place, weights = orders.of(draw, allowed)
        group = base.group[place]
        own = counted(group) < quota[group]
        chosen = own
        if recipe.limits.diversity is not None and vectors is not None:
            before = np.flatnonzero(drawn >= 0)
            earlier = base.group[before], base.row[before]
            chosen = diverse(group, base.row[place], quota, earlier, vectors, recipe.limits.diversity)
        drawn[place[chosen]] = number
        passed[place[own & ~chosen]] = True
        weight[place[chosen]] = _weights(recipe, draw, weights[chosen])
        label[place[chosen]] = draw.label
    return Drawn(stage, draws, drawn, passed, label, weight, _ranked(base, drawn >= 0))


def _within(draw: Draw, survivor_rank: Ints) -> Bools:
    """(n,) who lies in a draw's slice of the survivors."""
    last = draw.survivor_max or np.iinfo(np.int64).max
    inside: Bools = (survivor_rank > draw.survivor_min) & (survivor_rank <= last)
    return inside if draw.survivor_min or draw.survivor_max else np.ones(len(survivor_rank), np.bool_)


def _quota(base: Base, recipe: Recipe, draw: Draw, drawn: Ints) -> Ints:
    """(groups,) how many a draw takes of each group."""
    if draw.take is not None:
        return np.full(base.groups, draw.take)
    left: Ints = np.maximum(0, recipe.num_negatives - np.bincount(base.group[drawn >= 0], minlength=base.groups))
    return left


def _weights(recipe: Recipe, draw: Draw, weights: Floats) -> Floats:
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise UsageError(
            f"recipe {recipe.name!r}: draw {draw.name!r}, weight_by: gives weights that are negative, infinite or NaN",
            "give an expression that is 0 or more, as in greatest(0, 1 - teacher_sigmoid)",
        )
    return weights


def _pseudo_positives(base: Base, recipe: Recipe, reasons: Reasons) -> Bools:
    """(n,) the best unlabelled candidates over the threshold, without copies of what is known."""
    pseudo = np.zeros(len(base.row), np.bool_)
    wanted = recipe.pseudo_positives
    if wanted is None:
        return pseudo
    score: NDArray[np.float32] = base.view[wanted.score].cast(pa.float32()).to_numpy()
    copies = {rule.name for rule in recipe.rules if rule.kind in COPY_RULES}
    with np.errstate(invalid="ignore"):
        likely = (score > np.float32(wanted.above)) & base.view["relevance"].is_null().to_numpy()
    places = np.flatnonzero(likely & ~reasons.where(lambda listed: bool(copies & set(listed))))
    places = places[np.lexsort((-score[places], base.group[places]))]
    pseudo[places[counted(base.group[places]) < wanted.take]] = True
    return pseudo


def _ranked(base: Base, which: Bools) -> Ints:
    """(n,) 1, 2, … among those of a group by ``rank_by``, highest first, then doc_id; 0 for the others."""
    ranks = np.zeros(len(which), np.int64)
    places = base.best[which[base.best]]
    ranks[places] = counted(base.group[places]) + 1
    return ranks


def _query(recipe: Recipe, sql: str, base: pa.Table) -> pa.Table:
    try:
        return run_sql(sql, {"base": base})
    except UsageError as error:
        blame(recipe, expressions(recipe), base, [name for name in base.column_names if not name.startswith(("_", "u_"))], error)
