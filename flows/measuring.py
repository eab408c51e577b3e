"""How a round's selections are measured: the settings, and the judgements that do nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from flows.settings import MineSettings
from tasks.compare.truth import Truth, read_truth
from tasks.models.train_settings import TrainSettings
from tasks.store.manifest import FileRecord, Part
from tasks.store.storage import Storage
from tasks.store.tables import keep_table, read_table
from tasks.truth.settings import TruthSettings

RECORDED = "judgements"  # under a round's settings


@dataclass(frozen=True)
class Measuring:
    """What stage ``measure`` is told.

    Args:
        settings: of the run.
        batch_sizes: rows a batch, as they are trained.
        batch_seed: of their order.
        truth: judgements of :attr:`TruthSettings.qrels`, read by that stage alone; or none.
    """

    settings: TruthSettings
    batch_sizes: tuple[int, ...]
    batch_seed: int
    truth: Part | None = None

    @classmethod
    def of(cls, settings: MineSettings, truth: Part | None) -> Measuring:
        """Of a run."""
        train = settings.train or TrainSettings()
        return cls(settings.truth, settings.truth.batch_sizes or (train.batch_size,), train.seed, truth)

    @property
    def recorded(self) -> dict[str, Any]:
        """What a round keeps of it beside its settings."""
        return {RECORDED: self.truth.model_dump(mode="json")} if self.truth else {}


def recorded_truth(settings: Mapping[str, Any]) -> Part | None:
    """The judgements that a round was measured by."""
    return Part.model_validate(settings[RECORDED]) if RECORDED in settings else None


def round_truth(storage: Storage, settings: Mapping[str, Any]) -> Truth | None:
    """The judgements that a round was measured by, to compare recipes by; none, or where they are not exhaustive.

    Args:
        storage: the root.
        settings: of the round, as it is recorded.
    """
    part = recorded_truth(settings)
    if part is None or (settings.get("truth") or {}).get("judged") == "trusted_zeros":
        return None
    pairs, judged = (read_table(storage, part.file(name)) for name in ("qrels.parquet", "queries.parquet"))
    return Truth(pairs, judged, int(settings["dataset"]["positive_min_grade"]))


def keep_truth(storage: Storage, settings: MineSettings) -> Part | None:
    """Put the run's judgements under the root, by their content; none where it has none.

    Raises:
        InputError: a file is missing or malformed, or no pair is relevant.
    """
    given = settings.truth
    if not given.qrels:
        return None
    truth = read_truth(Path(given.qrels), Path(given.queries) if given.queries else None, settings.dataset.positive_min_grade)
    files = tuple(_keep(storage, name, table) for name, table in (("qrels.parquet", truth.pairs), ("queries.parquet", truth.judged)))
    return Part(stage="judgements", key="", index="all", files=files)


def _keep(storage: Storage, name: str, table: pa.Table) -> FileRecord:
    path, size, checksum = keep_table(storage, "judgements", table)
    return FileRecord(name=name, path=path, bytes=size, checksum=checksum, rows=table.num_rows)
