"""Speeds of this machine: kept ones, or measured by a few seconds of the stages' own code."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict

from flows.planning.encoders import Encoder, Encoders, machine
from flows.planning.facts import Facts
from flows.planning.kept import find, find_or_make, keep
from flows.settings import MineSettings
from tasks.models.fingerprint import ModelSpec, teacher_spec
from tasks.plan.speeds import Curve, Speeds
from tasks.runner.cores import cores, local_workers
from tasks.templates import document_inputs

Say = Callable[[str], None]

_SEEN = 400  # texts whose words the measured inputs are made from
_IMPORTS = 6.0  # seconds, where torch was there before anybody looked


class _Process(BaseModel):
    """``imports``: seconds to import torch. ``resident``: bytes of a process that ran the models."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    imports: float
    resident: int


class _Search(BaseModel):
    """Operations a second."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    product: float
    scan: float


def kept_speeds(settings: MineSettings, models: Encoders, dim: int) -> Speeds | None:
    """Speeds that an earlier plan measured; ``None`` where some of those that the run needs are missing. Nothing is loaded."""
    found = {name: find(Curve, *encoder.key) for name, encoder in _wanted(models).items()}
    process, search = find(_Process, *_process_key(models)), find(_Search, *_search_key(settings, dim))
    if process is None or search is None or None in found.values():
        return None
    return _speeds(process, search, {name: curve for name, curve in found.items() if curve is not None})


def measure_speeds(settings: MineSettings, models: Encoders, facts: Facts, dim: int, anew: bool, say: Say) -> Speeds:
    """Speeds of this machine, measured as far as they are not kept.

    Args:
        settings: of the run.
        models: its models.
        facts: of its corpus, whose words are used.
        dim: of the vectors.
        anew: measure all of them again.
        say: is told what is measured.

    Raises:
        ModelError: a model cannot be loaded.
    """
    from tasks.models.speed import embedding_speed, import_seconds, resident_bytes, scoring_speed, training_speed
    from tasks.retrieve.speed import search_speed

    imports = import_seconds()
    texts = document_inputs(settings.document_encoder.title_template, facts.texts.slice(0, _SEEN)) or ["word"]
    with tempfile.TemporaryDirectory() as folder:
        trained = Path(folder) / "teacher"

        def measure(encoder: Encoder) -> Curve:
            say(f"measuring {encoder.role} by {Path(encoder.spec.path).name or encoder.spec.path}")
            if encoder.role == "training":
                assert settings.teacher is not None and settings.teacher.train is not None
                found = training_speed(encoder.spec, settings.teacher.train, texts, trained)
            elif encoder.role == "embedding":
                found = embedding_speed(encoder.spec, texts)
            else:
                found = scoring_speed(_scoring(settings, encoder, trained), texts)
            return Curve(lengths=found.lengths, seconds=found.seconds, start=found.start)

        def curve(encoder: Encoder) -> Curve:
            return find_or_make(Curve, lambda: measure(encoder), anew and encoder.key not in done, *encoder.key)

        done: list[object] = []
        curves = {}
        needs_trained = models.body is not None and models.teacher is not None and (anew or find(Curve, *models.teacher.key) is None)
        for name, encoder in _wanted(models).items():
            if name == "training" and needs_trained:  # the teacher's own speed is measured on what this leaves behind
                curves[name] = keep(measure(encoder), *encoder.key)
            else:
                curves[name] = curve(encoder)
            done.append(encoder.key)

    def search() -> _Search:
        say("measuring search")
        product, scan = search_speed(dim, settings.retrieve.dense.codes)
        return _Search(product=product, scan=scan)

    searched = find_or_make(_Search, search, anew, *_search_key(settings, dim))
    process = find_or_make(
        _Process,
        lambda: _Process(imports=imports or _IMPORTS, resident=resident_bytes()),
        anew and imports is not None,
        *_process_key(models),
    )
    return _speeds(process, searched, curves)


def _wanted(models: Encoders) -> dict[str, Encoder]:
    """Whose speeds a run needs; a teacher is trained before it scores."""
    named = {"documents": models.documents, "queries": models.queries, "training": models.body, "teacher": models.teacher}
    named["fixed"] = models.fixed[0] if models.fixed else None
    return {name: encoder for name, encoder in named.items() if encoder is not None}


def _speeds(process: _Process, search: _Search, curves: dict[str, Curve]) -> Speeds:
    return Speeds(imports=process.imports, resident=process.resident, product=search.product, scan=search.scan, **curves)


def _process_key(models: Encoders) -> tuple[object, ...]:
    return ("process", [encoder.key for encoder in _wanted(models).values()])


def _search_key(settings: MineSettings, dim: int) -> tuple[object, ...]:
    return ("search", dim, settings.retrieve.dense.codes, *machine())


def _scoring(settings: MineSettings, encoder: Encoder, trained: Path) -> ModelSpec:
    """The teacher: the one that is there, or the one that was just trained a few steps."""
    return teacher_spec(settings.teacher, trained) if settings.teacher is not None and settings.teacher.train is not None else encoder.spec


def run_workers(settings: MineSettings) -> int:
    """Workers that a run would have: those of a local cluster; of another scheduler's nobody knows, and 1 is said."""
    if settings.cluster != "local":
        return 1
    return settings.workers or local_workers(cores(), psutil.virtual_memory().total)


@contextmanager
def worker_threads(settings: MineSettings) -> Iterator[None]:
    """Model code in this process takes as many cores as a worker of the run's will have."""
    name = "HARDMINE_WORKER_CORES"
    before = os.environ.get(name)
    if settings.cluster == "local" and before is None:
        os.environ[name] = str(max(1, cores() // run_workers(settings)))
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
