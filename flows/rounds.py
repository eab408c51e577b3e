"""Several rounds: mine → train → measure → mine with what was trained …, until there is nothing to gain.

Each round is mined with the checkpoint that the one before it trained; the teacher is the first round's, so that its scores serve all
rounds (the pair store). A loop that was stopped goes on where it was: what is done is cached.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from flows.cluster import cluster
from flows.judging import judge_budget
from flows.mine import mine_round
from flows.results import MineResult
from flows.round import prepare_dataset
from flows.settings import MineSettings
from flows.trained_on import check_unseen, encoders
from flows.training import Evaluated, Trained, evaluate_checkpoint, train
from tasks.audit.best import Best, keep_best
from tasks.audit.build import build_audit
from tasks.audit.records import RoundRecord, SelectionRecord, read_round
from tasks.corpus.splits import check_splits
from tasks.errors import UsageError
from tasks.models.fingerprint import query_spec
from tasks.models.losses.registry import LOSSES
from tasks.models.stored import as_reference
from tasks.models.train_settings import TrainSettings
from tasks.remote.budget import Budget
from tasks.runner.runner import Context, Progress
from tasks.store.lease import at_work
from tasks.store.storage import Storage, open_storage

MineOne = Callable[[MineSettings, Context, RoundRecord | None, Budget | None], MineResult]


class RoundOutcome(BaseModel):
    """One round of the loop. ``trained`` and ``measured`` are empty where it stopped before training."""

    model_config = ConfigDict(frozen=True)
    mined: MineResult
    lost: float | None = None  # share of their loss share that the round before's negatives lost
    trained: Trained | None = None
    measured: Evaluated | None = None

    @property
    def teacher_pairs(self) -> int:
        """Pairs that the teacher was run on in this round."""
        return sum(stage.model_calls for stage in self.mined.stages if stage.stage == "score")

    @property
    def seconds(self) -> float:
        """Seconds of computing of mining and training, 0 where it was cached."""
        mined = sum(stage.seconds for stage in self.mined.stages)
        return mined + (float(self.trained.facts["seconds"]) if self.trained and not self.trained.cached else 0.0)


class RoundsResult(BaseModel):
    """What the loop did.

    Args:
        measure: by which checkpoints were compared, and ``split`` the queries that it was taken on.
        start: of the model that the loop began with.
        best: the checkpoint with the highest measure; the model that it began with, where none beat it.
        stopped: why the loop ended before its last round; empty: it did not.
    """

    model_config = ConfigDict(frozen=True)
    root: str
    dataset: str
    measure: str
    split: str
    start: Evaluated
    rounds: tuple[RoundOutcome, ...]
    best: str
    stopped: str = ""


def run_rounds(settings: MineSettings, progress: Progress) -> RoundsResult:
    """The loop as a Prefect flow."""
    from prefect import flow

    from flows.server import prefect_api

    def run(settings: MineSettings) -> RoundsResult:
        with cluster(settings, progress) as executor, at_work(storage := open_storage(settings.root), "rounds"):
            return mine_rounds(settings, Context(storage, executor, progress))

    named = flow(name="rounds", flow_run_name="rounds-{settings.dataset.name}", validate_parameters=False, persist_result=False)
    with prefect_api():
        result: RoundsResult = named(run)(settings)
    return result


def mine_rounds(settings: MineSettings, context: Context, mine_one: MineOne | None = None) -> RoundsResult:
    """The loop itself, in whatever runs it.

    Args:
        settings: with ``rounds``, ``train``, ``evaluate`` and ``stop``.
        context: storage, executor, progress.
        mine_one: how a round is mined, from its settings, the first round and the judges' budget; by default
            :func:`flows.mine.mine_round`.

    Raises:
        UsageError: no query of the split that chooses has a label.
    """
    check_rounds(settings, context)
    loop = _Loop(settings, context, mine_one or _mine_one, judge_budget(settings.judge))
    for number in range(settings.rounds):
        go_on = loop.step(number)
        build_audit(context.storage)
        if not go_on:
            break
    result = loop.result()
    keep_best(context.storage, best_of(result, context.storage, settings))
    return result


def best_of(result: RoundsResult, storage: Storage, settings: MineSettings) -> Best:
    """The loop's best checkpoint, as its pointer names it.

    Args:
        result: of the loop.
        storage: its root.
        settings: of the loop.
    """
    measured = [result.start, *(one.measured for one in result.rounds if one.measured)]
    chosen = next(one for one in measured if one.model == result.best)
    trained = next((one.trained for one in result.rounds if one.measured is chosen), None)
    path = as_reference(storage, result.best)
    spec = settings.model.model_copy(update={"path": path, "revision": None}) if trained else settings.under(storage).model
    return Best(
        dataset=result.dataset,
        round=int(trained.round.rpartition("/")[2]) if trained else 0,
        path=path,
        model=query_spec(spec, storage).weights,
        measure=result.measure,
        split=result.split,
        value=chosen.measures[result.measure]["mean"],
        trained=len(measured) - 1,
    )


def check_rounds(settings: MineSettings, context: Context) -> None:
    """Fail before a model runs where no query could tell which checkpoint is better.

    Raises:
        UsageError: the split of ``settings.evaluate`` is empty, not there to choose by, or the retriever was trained on queries of it.
    """
    split = settings.evaluate.split
    if split.lower() in ("test", "calibration"):
        raise UsageError(
            f"evaluate.split: rounds are compared, and the best is kept, by queries of split {split!r}",
            "choose by dev; measure the best checkpoint on test once, with hardmine evaluate --split test",
        )
    dataset = prepare_dataset(context, settings)
    counts = check_splits(context.storage, dataset.queries, dataset.name)
    if not counts.get(split.lower()):
        have = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise UsageError(
            f"dataset {dataset.name}: rounds are compared on queries of split {split!r}, and there are none ({have})",
            "set dataset.splits, as in {train: 0.8, dev: 0.1, test: 0.1}, or name splits in the queries' files",
        )
    check_unseen(context.storage, dataset.name, dataset.queries, split, encoders(settings, context.storage))


@dataclass
class _Loop:
    """What is known between two rounds."""

    settings: MineSettings
    context: Context
    mine_one: MineOne
    budget: Budget | None
    done: list[RoundOutcome] = field(default_factory=list)
    past: list[tuple[RoundRecord, SelectionRecord]] = field(default_factory=list)
    start: Evaluated | None = None
    stopped: str = ""

    def step(self, number: int) -> bool:
        """One round; whether another one may follow."""
        first = self.past[0][0] if self.past else None
        mined = self.mine_one(self._settings(number), self.context, first, self.budget)
        record = read_round(self.context.storage, mined.dataset, mined.number)
        outcome = RoundOutcome(mined=mined, lost=_lost(mined, self.past[-1][0].number) if self.past else None)
        if self.start is None:
            self.start = evaluate_checkpoint(self.context, record, None, self.settings.evaluate)
        self.stopped = _still_fresh(outcome.lost, self.settings.stop.staleness_floor)
        if self.stopped:
            self.done.append(outcome)
            return False
        selection = record.selection(mined.selection_id)
        trained = train(self.context, record, selection, self._training(), earlier=self.past)
        measured = evaluate_checkpoint(self.context, first or record, trained.model, self.settings.evaluate)  # all on one dataset version
        self.done.append(outcome.model_copy(update={"trained": trained, "measured": measured}))
        self.past.append((record, selection))
        self.stopped = self._no_gain()
        return not self.stopped

    def result(self) -> RoundsResult:
        """All of it."""
        assert self.start is not None  # settings.rounds is 1 at least
        return RoundsResult(
            root=self.context.storage.root,
            dataset=self.settings.dataset.name,
            measure=self._measure,
            split=self.settings.evaluate.split,
            start=self.start,
            rounds=tuple(self.done),
            best=max(self._measured(), key=self._value).model,
            stopped=self.stopped if len(self.done) < self.settings.rounds or not self.done[-1].trained else "",
        )

    def _settings(self, number: int) -> MineSettings:
        """A round's own: the last checkpoint, and the next chunk of the queries."""
        settings = self.settings
        if "vectors" in LOSSES[self._training().loss.kind].materials:  # only queries learn: the documents' encoder stays
            settings = settings.model_copy(update={"document_model": settings.document_encoder})
        trained = self.done[-1].trained if self.done else None
        return settings.with_checkpoint(trained.model, number) if trained else settings

    def _training(self) -> TrainSettings:
        """Without the share of earlier rounds where there is none."""
        given = self.settings.train or TrainSettings()
        return given if self.past else given.model_copy(update={"earlier": 0.0})

    def _measured(self) -> list[Evaluated]:
        return [each for each in (self.start, *(one.measured for one in self.done)) if each is not None]

    @property
    def _measure(self) -> str:
        return self.settings.evaluate.measures[0]

    def _value(self, measured: Evaluated) -> float:
        return measured.measures[self._measure]["mean"]

    def _no_gain(self) -> str:
        """Why it should stop: the last rounds brought nothing."""
        values = [self._value(each) for each in self._measured()]
        patience, least = self.settings.stop.patience, self.settings.stop.min_gain
        best = _last_gain(values, least)
        if len(values) - 1 - best < patience:
            return ""
        return f"no gain of more than {least:g} in {self._measure} on {self.settings.evaluate.split} for {patience} round(s)"


def _last_gain(values: Sequence[float], least: float) -> int:
    """Place of the last value that beat the best one before it by more than ``least``.

    >>> _last_gain([0.5, 0.6, 0.6, 0.65, 0.64], 0.0), _last_gain([0.5, 0.51, 0.52], 0.05)
    (3, 0)
    """
    best = 0
    for place, value in enumerate(values):
        if value > values[best] + least:
            best = place
    return best


def _lost(mined: MineResult, before: int) -> float | None:
    """What the negatives of the round before lost under the new checkpoint."""
    return next((each.lost for each in mined.staleness.earlier if each.round == before), None)


def _still_fresh(lost: float | None, floor: float) -> str:
    """Why it should stop: under the new checkpoint the round before's negatives are as hard as they were.

    >>> _still_fresh(-0.02, 0.0), _still_fresh(None, 0.5), _still_fresh(0.5, 0.5)
    ('', '', '')
    """
    if not floor or lost is None or lost >= floor:
        return ""
    return f"the round before's negatives lost {100 * lost:.0f} % of their loss share only, under the floor of {100 * floor:.0f} %"


def _mine_one(settings: MineSettings, context: Context, first: RoundRecord | None, budget: Budget | None) -> MineResult:
    return mine_round(settings, context, teachers_of=first, budget=budget)
