"""What a stage is: a name, a version and a pure function from one partition's inputs to its output."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from tasks.store.keys import digest
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.storage import Storage
from tasks.store.tables import read_parts, read_table

Report = Callable[[int], None]


class NotCached(Exception):
    """Something has to be computed that this run may not compute."""


_STEP, _MOST = 4, 64  # pieces: times as many at each try, and in the end


@dataclass(frozen=True)
class Job:
    """One partition's work: plain data that crosses process borders.

    Args:
        index: the partition's name within the stage, as in ``d0003`` or ``q0001``.
        inputs: committed parts to read, by role. Their checksums are in the key.
        settings: JSON values that decide the output, model fingerprints among them. In the key.
        options: JSON values that do not change the output's bytes (paths, what may be reused). Not in the key.
        units: how much work it is, in the stage's unit, for progress.
    """

    index: str
    inputs: Mapping[str, tuple[Part, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    units: int = 1

    @property
    def pieces(self) -> int:
        """See :attr:`Work.pieces`; more than 1 after memory ran out."""
        return int(self.options.get("pieces", 1))

    def smaller(self, stage: Stage) -> Job | None:
        """The same work in more pieces; ``None`` where that does not help, or no longer."""
        if not stage.splits or self.pieces >= _MOST:
            return None
        return replace(self, options={**self.options, "pieces": self.pieces * _STEP})

    def key(self, stage: Stage) -> str:
        """The partition's content key."""
        inputs = {role: [part.checksum for part in parts] for role, parts in self.inputs.items()}
        return digest(stage.name, stage.version, dict(self.settings), inputs, self.index)


@dataclass(frozen=True)
class Work:
    """What a stage's function is given besides the job: the storage to read from, progress to tell."""

    job: Job
    storage: Storage
    report: Report

    def afford(self, inputs: int, known: int) -> None:
        """To be told by a stage before it runs a model: where the run may compute ``few`` inputs only, not more, nor over a tenth.

        Args:
            inputs: texts or pairs that the model is to be run on.
            known: those whose result is there.

        Raises:
            NotCached: the run may not do so much.
        """
        few = self.job.options.get("few")
        if few is not None and inputs > min(int(few), known // 9):
            raise NotCached(f"{inputs} inputs of a model")

    @property
    def pieces(self) -> int:
        """Into how many pieces a stage that :attr:`Stage.splits` should cut what it has in memory at once."""
        return self.job.pieces

    def table(self, role: str, name: str, columns: list[str] | None = None) -> pa.Table:
        """One file of all parts of a role, one after the other."""
        return read_parts(self.storage, self.job.inputs[role], name, columns)

    def part_table(self, part: Part, name: str, columns: list[str] | None = None) -> pa.Table:
        """One file of one part."""
        return read_table(self.storage, part.file(name), columns)


@dataclass(frozen=True)
class Stage:
    """A stage.

    Args:
        name: lower case with hyphens; names its folders.
        version: raised whenever the function's output changes for equal inputs.
        function: ``module:name`` of ``f(work: Work, out: Output) -> None``; pure but for reading its inputs.
        unit: what progress counts (``documents``, ``pairs``, …).
        folder: data folder as a template of ``{stage}``, ``{key}`` and the job's options.
        model: whether it runs a model: such partitions are kept to the workers with a GPU, where some declare one.
        splits: whether the function heeds :attr:`Work.pieces`, and gives the same bytes for any number of them: a partition for which
            memory runs out is tried again in more pieces.
    """

    name: str
    version: int
    function: str
    unit: str = "rows"
    folder: str = "data/{stage}/{key}"
    model: bool = False
    splits: bool = False

    def resolve(self) -> Callable[[Work, Output], None]:
        """Import the function."""
        module, _, name = self.function.partition(":")
        function: Callable[[Work, Output], None] = getattr(importlib.import_module(module), name)
        return function

    def folder_of(self, job: Job, key: str) -> str:
        """Where a partition's files go."""
        return self.folder.format(stage=self.name, key=key, **job.options) if "{" in self.folder else self.folder
