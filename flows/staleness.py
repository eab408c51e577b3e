"""Staleness of earlier rounds under a round's checkpoint: the stages, the event, and what readers are shown. No model runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flows.looking_back import card_of, checkpoint_of, choose, rounds_before
from tasks.audit.records import RoundRecord, StageRef
from tasks.runner.runner import Context
from tasks.staleness.facts import StalenessFacts, facts_of, lines
from tasks.staleness.facts import stale as stale
from tasks.staleness.plot import StalenessCurve, curves_of
from tasks.staleness.settings import SCALE, StalenessSettings
from tasks.staleness.task import look_back, summarise_staleness
from tasks.store.manifest import StageManifest, read_stage
from tasks.store.storage import Storage
from tasks.store.tables import read_parts


@dataclass(frozen=True)
class Staleness:
    """What was found.

    Args:
        manifest: of ``staleness-summary``; none: there is no earlier round under another checkpoint.
        stages: that and those before it.
        facts: figures of each earlier selection.
    """

    manifest: StageManifest | None
    stages: tuple[StageManifest, ...]
    facts: StalenessFacts

    def recorded(self, record: RoundRecord) -> RoundRecord:
        """A round's record with it; to be published."""
        if self.manifest is None:
            return record
        added = tuple(StageRef(stage=each.stage, key=each.key) for each in self.stages)
        own = StageRef(stage=self.manifest.stage, key=self.manifest.key)
        return record.model_copy(update={"staleness": own, "stages": tuple(dict.fromkeys((*record.stages, *added)))})


def staleness(context: Context, now: RoundRecord, earlier: Sequence[RoundRecord], settings: StalenessSettings | None = None) -> Staleness:
    """Look at earlier rounds' negatives with a round's checkpoint.

    Of the most recent earlier rounds (``settings.rounds``) and of the first one: the published selection, and those of the recipe that
    ``now`` publishes. A round under the same checkpoint has nothing to say and is skipped, and so is one whose files are gone.

    Args:
        context: storage, executor, progress.
        now: the round, published or about to be; its stages are committed.
        earlier: rounds of the same dataset; later ones and the round itself are left out.
        settings: how to measure.

    Raises:
        StorageError: the round's own files are gone.
    """
    settings = settings or StalenessSettings()
    settings = settings.model_copy(update={"scale": settings.scale or card_of(context.storage, now).scale or SCALE})
    before = rounds_before(now, earlier)
    looked = choose(context.storage, now, before, settings)
    if not looked.earlier:
        return Staleness(None, (), StalenessFacts(skipped=looked.skipped))
    checkpoint = checkpoint_of(context.storage, now)
    found = look_back(context, checkpoint, looked.earlier, settings)
    own = [
        look_back(context, before_it, [each.alone() for each in looked.earlier if each.round == number], settings)
        for number, before_it in looked.own.items()
    ]
    theirs = [part for each in own for part in each.parts]
    summary = summarise_staleness(context, found.parts, theirs, checkpoint.queries, looked.earlier, settings)
    rows = read_parts(context.storage, summary.parts, "summary.parquet").to_pylist()
    facts = facts_of(rows, staleness_rows(context.storage, before), looked.skipped)
    return Staleness(summary, (found, *own, summary), facts)


def owe_stale_event(storage: Storage, drafted: RoundRecord, facts: StalenessFacts, limit: float) -> bool:
    """Note that the event ``hardmine.negatives.stale`` is owed, if negatives are stale and a Prefect API is configured.

    Args:
        storage: the root.
        drafted: the round whose checkpoint looked back, about to be published; the resource is ``hardmine.dataset.<name>`` of its dataset.
        facts: what it saw.
        limit: see :func:`stale`.

    Returns:
        Whether it is owed. Its payload: root, round, from_round, model, recipe, limit, lost, lost_control, and the measures.
    """
    if not stale(facts, limit) or not _has_api():
        return False
    from flows.deployed.events import owe_stale

    last = facts.earlier[0]
    told = {
        "from_round": last.round,
        "model": drafted.settings["model"]["path"],
        "limit": limit,
        "lost": last.lost,
        "lost_control": last.lost_control,
    }
    payload = {**last.model_dump(mode="json", exclude={"round"}), **told}
    owe_stale(storage, drafted.dataset, drafted.selection_id, payload)
    return True


def send_owed_events(storage: Storage, dataset: str) -> None:
    """Send what is owed of a dataset, by this run or by one that died before it could, where a Prefect API is configured."""
    if _has_api():
        from flows.deployed.events import send_owed

        send_owed(storage, dataset)


def staleness_lines(facts: StalenessFacts) -> tuple[str, ...]:
    """One line an earlier selection, for the end of a run."""
    return lines(facts)


def staleness_rows(storage: Storage, rounds: Sequence[RoundRecord]) -> list[dict[str, Any]]:
    """Rows of the audit's table ``staleness`` of some rounds, in their order; those whose files are gone are left out."""
    rows: list[dict[str, Any]] = []
    for record in rounds:
        manifest = read_stage(storage, record.staleness.stage, record.staleness.key) if record.staleness else None
        for row in read_parts(storage, manifest.parts, "summary.parquet").to_pylist() if manifest else ():
            rows.append({"dataset": record.dataset, "under_round": record.number, **row})
    return rows


def staleness_curves(storage: Storage, rounds: Sequence[RoundRecord]) -> tuple[StalenessCurve, ...]:
    """Loss share of each round's negatives by age; ``rounds`` of one dataset."""
    return curves_of(staleness_rows(storage, rounds))


def _has_api() -> bool:
    """Whether a Prefect API is configured; Prefect is not loaded to find out that there is none."""
    if "prefect" not in sys.modules:
        return bool(os.environ.get("PREFECT_API_URL"))
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())
