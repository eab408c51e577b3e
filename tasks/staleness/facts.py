"""What a run tells of staleness: a few figures of each earlier selection, whether they are over the limit, and a line of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.staleness.half_life import half_life

Measures = dict[str, float | None]
Row = Mapping[str, Any]


class StaleNegatives(BaseModel):
    """One earlier selection under the later checkpoint.

    Args:
        round: the earlier round's number.
        recipe: of the selection.
        selection_id: of the selection.
        age: trainings between the two checkpoints.
        steps: steps of those; none: not known.
        trained_on: whether those trainings took this selection's rows; none: not known.
        trained: by measure, means over queries that checkpoints are trained on (sums for counts); empty where there are none.
        control: the same over queries that none was trained on.
        difference: trained less control; no counts.
        at_first: as ``trained``, under the earlier round's own checkpoint.
        control_at_first: as ``control``, under the same.
        floor: overlap that errors of the searches and seeds alone would leave; none: nothing was compared.
        half_life: in trainings, of the loss share of trained queries (of the control without those); none: it does not decay.
    """

    model_config = ConfigDict(frozen=True)
    round: int
    recipe: str
    selection_id: str
    age: int
    steps: int | None
    trained_on: bool | None = None
    trained: Measures
    control: Measures
    difference: Measures
    at_first: Measures
    control_at_first: Measures
    floor: float | None = None
    half_life: float | None

    @property
    def lost(self) -> float | None:
        """Share of the loss share at first that trained queries' negatives lost; the control's where nothing is trained."""
        found = _lost(self.trained, self.at_first)
        return self.lost_control if found is None else found

    @property
    def lost_control(self) -> float | None:
        """The same of queries that no checkpoint was trained on."""
        return _lost(self.control, self.control_at_first)

    def less_floor(self, measure: str) -> float | None:
        """How far the agreement of both rounds' candidates is under what errors and seeds alone would leave.

        Args:
            measure: overlap or rank_biased_overlap; of trained queries, of the control where nothing is trained.
        """
        found = self.trained.get(measure, self.control.get(measure))
        return None if found is None or self.floor is None else self.floor - found


class StalenessFacts(BaseModel):
    """Earlier rounds' negatives under one checkpoint.

    Args:
        earlier: the newest round first; within it what was trained on, as far as that is known, then the selection that was published.
        skipped: rounds that say nothing, and why.
    """

    model_config = ConfigDict(frozen=True)
    earlier: tuple[StaleNegatives, ...] = ()
    skipped: dict[int, str] = {}


def stale(facts: StalenessFacts, limit: float) -> bool:
    """Whether the last earlier round's negatives lost more than ``limit`` of the loss share that they began with."""
    lost = facts.earlier[0].lost if facts.earlier else None
    return lost is not None and lost > limit


def facts_of(rows: Sequence[Row], past: Sequence[Row], skipped: Mapping[int, str]) -> StalenessFacts:
    """Facts from the summary's rows.

    Args:
        rows: :data:`tasks.schema.STALENESS` under the later checkpoint, in order of the selections.
        past: the same under earlier checkpoints, for half-lives.
        skipped: rounds that were left out, and why.
    """
    by: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        by.setdefault((int(row["from_round"]), str(row["selection_id"])), []).append(row)
    before: dict[tuple[int, str], list[Row]] = {}
    for row in past:
        before.setdefault((int(row["from_round"]), str(row["selection_id"])), []).append(row)
    return StalenessFacts(earlier=tuple(_of(key, own, before.get(key, [])) for key, own in by.items()), skipped=dict(skipped))


def lines(facts: StalenessFacts) -> tuple[str, ...]:
    """One line an earlier selection."""
    return tuple(_line(each) for each in facts.earlier)


def _of(key: tuple[int, str], rows: Sequence[Row], past: Sequence[Row]) -> StaleNegatives:
    def column(cohort: str, name: str = "value") -> Measures:
        return {str(row["measure"]): row[name] for row in rows if row["cohort"] == cohort and row[name] is not None}

    cohort = "trained" if column("trained").get("loss_share") is not None else "control"
    shares = [row for row in (*past, *rows) if row["measure"] == "loss_share" and row["cohort"] == cohort]
    points = {0: shares[0]["at_first"]} if shares else {}
    for row in shares:
        points.setdefault(int(row["age"]), row["value"])
    return StaleNegatives(
        round=key[0],
        recipe=rows[0]["recipe"],
        selection_id=key[1],
        age=rows[0]["age"],
        steps=rows[0]["steps"],
        trained_on=rows[0].get("trained_on"),
        trained=column("trained"),
        control=column("control"),
        difference=column("difference"),
        at_first=column("trained", "at_first"),
        control_at_first=column("control", "at_first"),
        floor=next((row["agreement_floor"] for row in rows if row.get("agreement_floor") is not None), None),
        half_life=half_life(list(points), list(points.values())),
    )


def _lost(now: Measures, first: Measures) -> float | None:
    value, began = now.get("loss_share"), first.get("loss_share")
    return None if value is None or not began else 1 - value / began


def _line(each: StaleNegatives) -> str:
    trained = each.trained.get("loss_share") is not None
    now = each.trained if trained else each.control
    first = each.at_first if trained else each.control_at_first
    named = f"negatives of round {each.round} ({each.recipe}{', not trained on' if each.trained_on is False else ''})"
    if now.get("loss_share") is None:
        return f"{named}: no training row can be looked at"
    words = [f"loss share {_share(first.get('loss_share'))} then, {_share(now['loss_share'])} now"]
    if trained and each.lost_control is not None:
        words[0] += f" (never trained on: {_share(each.control_at_first.get('loss_share'))}, {_share(each.control.get('loss_share'))})"
    words.append(f"easy: {_share(first.get('easy_share'))} when mined, {_share(now.get('easy_share'))} now")
    apart = each.less_floor("overlap")
    if apart is not None:
        words.append(f"overlap with the new candidates {_share(now.get('overlap'))}, {_share(apart)} under the floor")
    if "retired" in now:
        retired, newly_hard = (sum(cohort.get(name) or 0 for cohort in (each.trained, each.control)) for name in ("retired", "newly_hard"))
        words.append(f"{retired:,.0f} retired, {newly_hard:,.0f} newly hard")
    if each.half_life is not None:
        words.append(f"half-life {each.half_life:.1f} trainings")
    return f"{named}: {'; '.join(words)}"


def _share(value: float | None) -> str:
    return "?" if value is None else f"{100 * value:.0f} %"
