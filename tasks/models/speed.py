"""How fast models run here: a few seconds of the very code that the stages run, on texts of known lengths."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from tasks.models.batches import plan, rows_of
from tasks.models.cross_encoder import CrossEncoder
from tasks.models.embedder import Embedder, import_libraries
from tasks.models.fingerprint import ModelSpec
from tasks.models.lengths import Ints, Lengths
from tasks.models.location import locate
from tasks.models.settings import TeacherTraining
from tasks.models.training import train_cross_encoder
from tasks.runner.cores import worker_cores

_FIRST, _STEP = 16, 4  # lengths that are measured: 16, 64, 256 … and the model's own limit
_SECONDS = 1.0  # to measure a length for, about
_TOO_LONG = 6.0  # seconds of one batch a thread, after which no longer rows are measured
_STEPS = 4  # training steps


@dataclass(frozen=True)
class Measured:
    """Seconds a token by length of a row, and seconds until the first batch was done."""

    lengths: tuple[float, ...]
    seconds: tuple[float, ...]
    start: float


def import_seconds() -> float | None:
    """Seconds to import torch and what loads models; ``None`` where that was done before."""
    if "torch" in sys.modules:
        return None
    began = time.perf_counter()
    import_libraries()
    return time.perf_counter() - began


def resident_bytes() -> int:
    """Bytes that this process holds now."""
    return int(psutil.Process().memory_info().rss)


def embedding_speed(spec: ModelSpec, texts: Sequence[str]) -> Measured:
    """An encoder's speed.

    Args:
        spec: of the model.
        texts: of documents, whose words the measured inputs are made from.

    Raises:
        ModelError: the model cannot be loaded.
    """
    began = time.perf_counter()
    model = Embedder(spec)
    model.encode(texts[:1])
    start = time.perf_counter() - began
    counted = Lengths(locate(spec.path, spec.revision), spec.max_length)
    made = _Words(texts, counted)

    def lengths(given: Sequence[str]) -> Ints:
        return counted.of_texts(counted.plain(given))

    return _curve(spec, start, lambda length, count: list(made.slices(length, count)), lengths, model.encode)


def scoring_speed(spec: ModelSpec, texts: Sequence[str]) -> Measured:
    """A cross-encoder's speed; see :func:`embedding_speed`. A pair's query has a tenth of its tokens."""
    began = time.perf_counter()
    model = CrossEncoder(spec)
    model.score([(texts[0], texts[-1])])
    start = time.perf_counter() - began
    counted = Lengths(locate(spec.path, spec.revision), spec.max_length)
    made = _Words(texts, counted)

    def pairs(length: int, count: int) -> list[tuple[str, str]]:
        return list(zip(made.slices(max(4, length // 10), count), made.slices(max(8, length - length // 10 - 2), count), strict=True))

    def lengths(given: Sequence[tuple[str, str]]) -> Ints:
        return counted.of_pairs(counted.plain([query for query, _ in given]), counted.plain([document for _, document in given]))

    return _curve(spec, start, pairs, lengths, model.score)


def training_speed(body: ModelSpec, settings: TeacherTraining, texts: Sequence[str], folder: Path) -> Measured:
    """A teacher's training: a few steps, of which the first is not counted; the model is left in ``folder``."""
    counted = Lengths(locate(body.path, body.revision), settings.max_length)
    made = _Words(texts, counted)
    count = settings.batch_size * (_STEPS + 1)
    pairs = list(zip(made.slices(12, count), made.slices(settings.max_length - 14, count), strict=True))
    lengths = counted.of_pairs(counted.plain([pair[0] for pair in pairs]), counted.plain([pair[1] for pair in pairs]))
    labels = (np.arange(count) % 2).astype(np.float32)
    ticks: list[float] = []
    began = time.perf_counter()
    once = settings.model_copy(update={"epochs": 1})
    train_cross_encoder(body, once, pairs, labels, [], folder, lambda _: ticks.append(time.perf_counter()))
    steps = ticks[-1] - ticks[0]
    tokens = settings.batch_size * _STEPS * float(lengths.mean())
    return Measured((float(lengths.mean()),), (steps / tokens,), max(0.0, time.perf_counter() - began - steps))


class _Words:
    """Texts of about a wanted number of tokens, cut from the words of real ones."""

    def __init__(self, texts: Sequence[str], counted: Lengths) -> None:
        words = [word for text in texts for word in text.split()] or ["word"]
        self._words = words[:50_000]
        sample = self._words[:2_000]
        total = sum(int(one) for one in counted.plain([" ".join(sample[at : at + 50]) for at in range(0, len(sample), 50)]))
        self._ratio = max(0.5, total / len(sample))
        self._at = 0

    def slices(self, tokens: int, count: int) -> Iterator[str]:
        """``count`` texts."""
        size = max(1, int(tokens / self._ratio))
        for _ in range(count):
            piece = [self._words[(self._at + place) % len(self._words)] for place in range(size)]
            self._at = (self._at + size) % len(self._words)
            yield " ".join(piece)


def _curve(
    spec: ModelSpec,
    start: float,
    make: Callable[[int, int], list[Any]],
    count: Callable[[list[Any]], Ints],
    run: Callable[[list[Any]], object],
) -> Measured:
    """Seconds a token at each measured length: a batch a thread to warm up, then as many as fit into a second."""
    lengths, seconds = [], []
    for wanted in _lengths(spec.max_length):
        rows = rows_of(wanted, spec.batch_tokens) * (worker_cores() if spec.device == "cpu" else 1)
        first = _timed(run, make(wanted - 4, rows))
        given = make(wanted - 4, rows * max(1, min(16, round(_SECONDS / max(first, 1e-3)))))
        batches = plan(count(given), spec.batch_tokens, spec.max_length)
        took = _timed(run, given)
        tokens = sum(batch.rows * batch.length for batch in batches)
        lengths.append(tokens / sum(batch.rows for batch in batches))
        seconds.append(took / tokens)
        if first > _TOO_LONG:
            break
    return Measured(tuple(lengths), tuple(seconds), start)


def _lengths(limit: int) -> list[int]:
    found, length = [], _FIRST
    while length < limit:
        found.append(length)
        length *= _STEP
    return [*found, limit]


def _timed(run: Callable[[list[Any]], object], given: list[Any]) -> float:
    began = time.perf_counter()
    run(given)
    return time.perf_counter() - began
