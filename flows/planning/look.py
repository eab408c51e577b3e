"""Which stages of a run are finished already: the round's own code, over an executor that computes nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from flows.cache_only import CacheOnly, Quiet
from flows.checks import mined_queries
from flows.measuring import Measuring, keep_truth
from flows.mine import select_recipe, table_of
from flows.round import ScoredRound, compose_recipes, depths, mine_candidates, prepare_dataset
from flows.settings import MineSettings
from tasks.corpus.dataset import Dataset, fixed_partitions
from tasks.embed.task import embed_queries
from tasks.errors import HardmineError
from tasks.plan.tables import SELECTION
from tasks.retrieve.task import retrieve_bm25
from tasks.runner.runner import Context
from tasks.runner.stage import NotCached
from tasks.store.manifest import StageManifest
from tasks.store.storage import Storage

Found = TypeVar("Found")


@dataclass
class Looked:
    """What is committed.

    ``dataset``: as ingested, where that is finished. ``finished``: stages whose every occurrence that was looked for is.
    ``manifests``: the last one of each finished stage.
    """

    dataset: Dataset | None = None
    finished: set[str] = field(default_factory=set)
    manifests: dict[str, StageManifest] = field(default_factory=dict)


def look(settings: MineSettings, storage: Storage) -> Looked:
    """Look, stage by stage; what comes after a stage that is not finished is looked for only where it does not depend on it.

    Args:
        settings: of the run.
        storage: the root; nothing is computed, and at most the run's judgements are put there, as the run does.
    """
    looked = Looked()
    if fixed_partitions(storage, settings.dataset.name) is None:
        return looked
    seen = _Seen(looked)
    context = Context(storage, CacheOnly, seen)
    settings = settings.under(storage)
    dataset = looked.dataset = _if_there(lambda: prepare_dataset(context, settings))
    if dataset is None:
        return looked
    recipes = compose_recipes(settings, dataset, mined_queries(storage, settings, dataset))
    scored: ScoredRound | None = _if_there(lambda: mine_candidates(context, settings, dataset, recipes))
    if scored is None:
        _if_there(lambda: embed_queries(context, settings.model, dataset.name, dataset.queries))
        words = depths(settings, recipes).retrieve.bm25
        if words is not None:
            _if_there(
                lambda: retrieve_bm25(context, words, dataset.documents, dataset.queries, settings.chunk, settings.retrieve.languages)
            )
    else:
        table = table_of(scored, settings.dataset, Measuring.of(settings, keep_truth(storage, settings)))
        done = [_if_there(lambda recipe=recipe: select_recipe(context, settings, table, recipe)) for recipe in recipes]  # type: ignore[misc]
        if None in done:
            seen.begun |= SELECTION.keys() | {"shards"}
    looked.finished = {name for name in looked.manifests if name not in seen.begun}
    return looked


def _if_there(work: Callable[[], Found]) -> Found | None:
    with suppress(NotCached, HardmineError):  # what is wrong with the run is for the run to say
        return work()
    return None


class _Seen(Quiet):
    """Listens to what is finished, and what was begun and is not."""

    def __init__(self, looked: Looked) -> None:
        self._looked = looked
        self.begun: set[str] = set()

    def start(self, stage: str, unit: str, total: int, done: int) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        self.begun.add(stage)

    def say(self, text: str) -> None:
        """A run is at a stage: it is not finished, and nobody waits for it here."""
        raise NotCached(text)

    def finish(self, manifest: Any, cached: bool) -> None:
        """See :class:`tasks.runner.runner.Progress`."""
        self._looked.manifests[manifest.stage] = manifest
