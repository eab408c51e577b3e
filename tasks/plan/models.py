"""Stages that run a model: embed, score, train a teacher."""

from __future__ import annotations

from tasks.plan.speeds import Curve, Speeds, model_seconds
from tasks.plan.stage import StagePlan
from tasks.plan.workload import Inputs, Training, Workload

READ = 1.5e-9  # seconds to read and unpack one byte of text of a document partition
_HASH = 19  # bytes of a row of hashes.parquet
_PAIR = 18  # bytes of a row of pairs.parquet
_TEXT_COPIES = 4  # of a partition's text while it is embedded: Arrow, Python, and two of tokens
_FOLDS, _BACKWARD = 3, 3  # of `folds: auto`; see tasks.train.teacher
_HELD_OUT = 240  # pairs that a teacher is measured on, before and after


def embed(work: Workload, speeds: Speeds) -> list[StagePlan]:
    """Stages ``embed-documents`` and ``embed-queries``, twice where a fixed encoder has its own vectors.

    Seconds: of the batches of each partition, for the inputs whose vectors are not known. Bytes: count · dimensions · bytes of one, and
    the hashes. Memory: a partition's text four times, its vectors in float32 and as stored.
    """
    documents = ("documents", work.documents, work.document_partitions, work.document_bytes)
    queries = ("queries", work.queries, work.query_partitions, work.query_bytes)
    runs = [(documents, work.embedded, speeds.documents), (queries, work.asked, speeds.queries)]
    if work.fixed is not None and speeds.fixed is not None:
        runs += [(documents, work.fixed[0], speeds.fixed), (queries, work.fixed[1], speeds.fixed)]
    made = []
    for (name, count, partitions, size), inputs, curve in runs:
        share = -(-count // partitions)
        made.append(
            StagePlan(
                stage=f"embed-{name}",
                partitions=partitions,
                units=count,
                unit=name,
                **_calls(count, inputs),
                seconds=partitions * model_seconds(inputs, round(share * inputs.to_run), curve),
                start=curve.start if inputs.to_run else 0.0,
                bytes=round(count * (work.dim * work.vector_bytes + _HASH)) + 128 * partitions,
                memory=round(share * (_TEXT_COPIES * size + work.dim * (4 + work.vector_bytes))),
            )
        )
    return made


def score(work: Workload, curve: Curve) -> StagePlan:
    """Stage ``score``.

    Seconds: of the batches of each block of pairs that the store does not hold; and each block reads the texts of every document partition,
    so reading grows with pairs times corpus. Memory: a block's texts, and one document partition.
    """
    assert work.scored is not None
    each = max(1, min(work.pairs_per_partition, -(-work.pair_count // work.query_partitions)))
    blocks = -(-work.pair_count // each)
    return StagePlan(
        stage="score",
        partitions=blocks,
        units=work.pair_count,
        unit="pairs",
        **_calls(work.pair_count, work.scored),
        seconds=blocks * (model_seconds(work.scored, round(each * work.scored.to_run), curve) + READ * work.text_bytes),
        start=curve.start if work.scored.to_run > 0 else 0.0,
        bytes=work.pair_count * _PAIR + 1_500 * blocks,
        memory=round(_TEXT_COPIES * each * (work.document_bytes + work.query_bytes) + 2 * work.per_partition(work.text_bytes)),
    )


def train(work: Workload, training: Training, curve: Curve) -> StagePlan:
    """Stage ``train-teacher``: one part, or one for each fold.

    Pairs of an epoch: positives · pairs of each · (1 - holdout), ``max_pairs`` at most; a teacher of several leaves one fold out instead.
    Seconds: pairs · epochs · tokens of a pair · seconds a token of a step (forward and backward); held-out pairs are scored twice, at a
    third of a step's cost.
    """
    pairs = min(training.max_pairs, round(work.positives / work.chunks * training.pairs_per_positive * (1 - training.holdout)))
    folds = training.folds
    if folds is None:
        folds = _FOLDS if _FOLDS * pairs * training.epochs * _BACKWARD <= work.pair_count / 2 else 0
    if folds:
        whole = work.positives / work.chunks * training.pairs_per_positive
        pairs = min(training.max_pairs, round(whole * (folds - 1) / folds))
    teachers = max(1, folds)
    tokens = training.inputs.mean
    measured = 2 * min(_HELD_OUT, work.positives) / _BACKWARD
    return StagePlan(
        stage="train-teacher",
        partitions=teachers,
        units=teachers * pairs * training.epochs,
        unit="pairs",
        calls=teachers * pairs * training.epochs,
        tokens=round(teachers * pairs * training.epochs * tokens),
        seconds=float(teachers * (pairs * training.epochs + measured) * tokens * curve.at(training.inputs.lengths).mean()),
        start=curve.start,
        bytes=teachers * training.model_bytes,
        memory=8 * training.model_bytes,
    )


def _calls(count: int, inputs: Inputs) -> dict[str, int | None]:
    """Model calls, their tokens, and the calls that are spared."""
    calls = count - round(count * (inputs.known or 0.0))
    return {"calls": calls, "tokens": round(calls * inputs.mean), "saved": None if inputs.known is None else count - calls}
