"""The models of a run as a plan sees them: what each is given, and under what its speed is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from flows.planning.kept import find_or_make
from flows.settings import MineSettings
from tasks.models.fingerprint import ModelSpec, body_spec, document_spec, query_spec, teacher_spec
from tasks.models.hardware import processor
from tasks.models.lengths import Ints, Lengths
from tasks.models.location import locate
from tasks.models.materialise import spec_here
from tasks.runner.cores import cores, worker_cores
from tasks.store.storage import Storage


@dataclass(frozen=True)
class Encoder:
    """One model.

    Args:
        role: ``embedding``, ``scoring`` or ``training``: what its speed is measured at.
        spec: with the folder here as its path.
    """

    role: str
    spec: ModelSpec

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return locate(self.spec.path, self.spec.revision)

    @property
    def lengths(self) -> Lengths:
        """Counts its tokens."""
        return Lengths(self.folder, self.spec.max_length)

    @property
    def key(self) -> tuple[object, ...]:
        """What decides its speed here: shape (not weights: a new checkpoint is as fast as the last), how it is run, the machine."""
        spec = self.spec
        how = [spec.dtype, spec.device, spec.backend, spec.max_length, spec.batch_tokens]
        return ("speed", self.role, _shape(self.folder), how, *machine())


@dataclass(frozen=True)
class Encoders:
    """All models of a run. ``teacher``: one that is there; ``body``: what a teacher is trained from."""

    documents: Encoder
    queries: Encoder
    fixed: tuple[Encoder, Encoder] | None = None
    teacher: Encoder | None = None
    body: Encoder | None = None


def encoders(settings: MineSettings, storage: Storage | None) -> Encoders:
    """The models that a run names.

    Raises:
        ModelError: one of them is not there.
    """

    def here(role: str, spec: ModelSpec) -> Encoder:
        return Encoder(role, spec if storage is None else spec_here(storage, spec))

    fixed, teacher = settings.fixed_encoder, settings.teacher
    found = Encoders(
        documents=here("embedding", document_spec(settings.document_encoder, storage)),
        queries=here("embedding", query_spec(settings.model, storage)),
        fixed=None if fixed is None else (here("embedding", document_spec(fixed, storage)), here("embedding", query_spec(fixed, storage))),
        body=None if teacher is None or teacher.train is None else here("training", body_spec(teacher.train, storage)),
    )
    if teacher is None:
        return found
    folder = found.body.folder if found.body else None
    return Encoders(found.documents, found.queries, found.fixed, here("scoring", teacher_spec(teacher, folder, storage)), found.body)


def machine() -> tuple[object, ...]:
    """What else decides speeds: the processor, the cores of a worker, torch."""
    return processor(), cores(), worker_cores(), version("torch")


def pair_lengths(encoder: Encoder, queries: Sequence[str], documents: Sequence[str]) -> Ints:
    """Tokens of each document with some query, as a cross-encoder is given them."""

    def count() -> Ints:
        counted = encoder.lengths
        return counted.of_pairs(counted.plain([encoder.spec.prompt + query for query in queries]), counted.plain(documents))

    return _kept(count, encoder, queries, documents)


def text_lengths(encoder: Encoder, texts: Sequence[str]) -> Ints:
    """Tokens of each text, with the encoder's prompt."""

    def count() -> Ints:
        counted = encoder.lengths
        return counted.of_texts(counted.plain([encoder.spec.prompt + text for text in texts]))

    return _kept(count, encoder, texts)


class _Counted(BaseModel):
    """Tokens of each input."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    lengths: tuple[int, ...]


def _kept(count: Callable[[], Ints], encoder: Encoder, *texts: Sequence[str]) -> Ints:
    key = ("lengths", encoder.role, encoder.spec.weights, encoder.spec.prompt, encoder.spec.max_length, [list(some) for some in texts])
    found = find_or_make(_Counted, lambda: _Counted(lengths=tuple(count().tolist())), False, *key)
    return np.array(found.lengths, dtype=np.int64)


def _shape(folder: Path) -> object:
    """A model's sizes: the numbers of its configuration."""
    for name in ("config.json", "0_Transformer/config.json"):
        if (folder / name).is_file():
            config = json.loads((folder / name).read_text())
            return {key: value for key, value in sorted(config.items()) if key == "model_type" or type(value) is int}
    return {"bytes": sum(file.stat().st_size for file in folder.rglob("*.safetensors"))}
