"""Training a cross-encoder: a plain loop that gives the same bytes on every run, for any number of cores.

On a CPU each step's pairs are cut into a fixed number of pieces, each computed by one thread; their gradients are
added in order. Dropout is off: it would draw from one generator in whatever order the pieces run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.models.fingerprint import ModelSpec
from tasks.models.hardware import training_attention
from tasks.models.location import locate
from tasks.models.runtime import Report
from tasks.models.settings import TeacherTraining
from tasks.models.tokenizers import forget_last_batch
from tasks.runner.cores import cores

Logits = NDArray[np.float32]
Pairs = Sequence[tuple[str, str]]

_EVALUATED_AT_ONCE = 8
_PIECES = 4


def train_cross_encoder(
    body: ModelSpec, settings: TeacherTraining, pairs: Pairs, labels: NDArray[np.float32], holdout: Pairs, folder: Path, report: Report
) -> tuple[Logits, Logits]:
    """Train a head and a body on labelled pairs, by binary cross-entropy on one logit.

    Args:
        body: the encoder; its dtype bfloat16 means autocast.
        settings: epochs, batch size, rates, seed.
        pairs: n (query, document) inputs.
        labels: float32, shape (n,): 1 relevant, 0 not.
        holdout: m pairs that are scored before and after.
        folder: where the model is written (safetensors and tokenizer, as CrossEncoder loads it).
        report: told 1 at each step.

    Returns:
        Logits of the holdout before and after, each float32, shape (m,).

    Raises:
        ModelError: the body cannot be loaded, or the loss is not finite.
    """
    import torch

    with deterministic(settings.seed):
        model, tokenizer = _load(body, settings)
        encoded = _tokenise(tokenizer, pairs, settings.max_length)
        measured = _tokenise(tokenizer, holdout, settings.max_length)
        optimizer, schedule = _optimizer(model, settings, settings.epochs * -(-len(pairs) // settings.batch_size))
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        with ThreadPoolExecutor(_threads(body)) as pool:
            before = _logits(pool, model, tokenizer, measured, body)
            for rows in _batches(_lengths(encoded), settings):
                pieces = np.array_split(rows, min(len(rows), _PIECES if body.device == "cpu" else 1))
                work = [_Piece([encoded[row] for row in piece.tolist()], labels[piece], len(rows)) for piece in pieces]
                made = list(pool.map(lambda piece: _gradients(model, tokenizer, weights, piece, body), work))
                _add_up(weights, made, body.path)
                torch.nn.utils.clip_grad_norm_(weights, 1.0)
                optimizer.step()
                schedule.step()
                report(1)
            after = _logits(pool, model, tokenizer, measured, body)
        forget_last_batch(tokenizer)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return before, after


def _load(body: ModelSpec, settings: TeacherTraining) -> tuple[Any, Any]:
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()  # that the head is new is no news
    folder = locate(body.path, body.revision)
    try:
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder,
            num_labels=1,
            dtype=torch.float32,
            use_safetensors=True,
            local_files_only=True,
            **training_attention(body.device, settings.max_length),
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise ModelError(f"body {body.path} cannot be loaded: {error}", "use an encoder that transformers can load") from error
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
    _freeze(model, settings, body.path)
    return model.to(body.device).eval(), tokenizer


def _freeze(model: Any, settings: TeacherTraining, name: str) -> None:
    """Keep the embeddings and the lowest layers as they are, as the settings say."""
    import torch

    layers = model.config.num_hidden_layers
    if settings.frozen_layers >= layers:
        raise ModelError(f"frozen_layers: {settings.frozen_layers}, but {name} has {layers} layers", f"freeze {layers - 1} at most")
    if not settings.train_embeddings:
        getattr(model.base_model, "embeddings", model.get_input_embeddings()).requires_grad_(False)
    stack = next(module for module in model.base_model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) == layers)
    for module in stack[: settings.frozen_layers]:
        module.requires_grad_(False)


def _tokenise(tokenizer: Any, pairs: Pairs, max_length: int) -> list[dict[str, list[int]]]:
    if not pairs:
        return []
    queries, documents = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    made = tokenizer(queries, documents, truncation="longest_first", max_length=max_length, verbose=False)
    return [{key: values[row] for key, values in made.items()} for row in range(len(pairs))]


def _lengths(items: Sequence[dict[str, list[int]]]) -> NDArray[np.int64]:
    return np.array([len(item["input_ids"]) for item in items], dtype=np.int64)


@dataclass(frozen=True)
class _Piece:
    """Some pairs of a batch of ``total`` pairs."""

    items: Sequence[dict[str, list[int]]]
    labels: NDArray[np.float32]
    total: int


def _gradients(model: Any, tokenizer: Any, weights: Sequence[Any], piece: _Piece, body: ModelSpec) -> tuple[Any, Sequence[Any]]:
    """A piece's share of the batch's loss, and its gradients: nothing of the model is changed."""
    import torch

    if body.device == "cpu":
        torch.set_num_threads(1)
    logits = _forward(model, tokenizer, piece.items, body)
    targets = torch.from_numpy(piece.labels.astype(np.float32)).to(body.device)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / piece.total
    return loss.detach(), torch.autograd.grad(loss, weights, allow_unused=True)


def _add_up(weights: Sequence[Any], made: Sequence[tuple[Any, Sequence[Any]]], name: str) -> None:
    """Set each weight's gradient to the sum over the pieces, in their order.

    Raises:
        ModelError: the loss is not finite.
    """
    import torch

    if not all(bool(torch.isfinite(loss)) for loss, _ in made):
        raise ModelError(f"training a teacher from {name}: the loss is not finite", "lower learning_rate or set dtype: float32")
    for weight, *gradients in zip(weights, *(piece for _, piece in made), strict=True):
        weight.grad = gradients[0]
        for gradient in gradients[1:]:
            if gradient is not None:
                weight.grad.add_(gradient)


def _threads(body: ModelSpec) -> int:
    return min(_PIECES, cores()) if body.device == "cpu" else 1


def _forward(model: Any, tokenizer: Any, items: Sequence[dict[str, list[int]]], body: ModelSpec) -> Any:
    """Logits of a padded batch, float32, shape (rows,)."""
    import torch

    features = tokenizer.pad({key: [item[key] for item in items] for key in items[0]}, return_tensors="pt").to(body.device)
    with torch.autocast(body.device, dtype=torch.bfloat16, enabled=body.dtype == "bfloat16"):
        return model(**features).logits[:, 0].float()


def _logits(pool: ThreadPoolExecutor, model: Any, tokenizer: Any, items: Sequence[dict[str, list[int]]], body: ModelSpec) -> Logits:
    """Logits of all items, float32, shape (n,); each batch is formed the same way always."""
    import torch

    order = np.argsort(-_lengths(items), kind="stable")
    batches = [order[start : start + _EVALUATED_AT_ONCE] for start in range(0, len(items), _EVALUATED_AT_ONCE)]

    def compute(rows: NDArray[np.int64]) -> Logits:
        if body.device == "cpu":
            torch.set_num_threads(1)
        with torch.inference_mode():
            logits: Logits = _forward(model, tokenizer, [items[row] for row in rows.tolist()], body).cpu().numpy()
        return logits

    found = np.empty(len(items), dtype=np.float32)
    for rows, logits in zip(batches, pool.map(compute, batches), strict=True):
        found[rows] = logits
    return found


def _batches(lengths: NDArray[np.int64], settings: TeacherTraining) -> Iterator[NDArray[np.int64]]:
    """Rows of each step: shuffled by the seed, then gathered by similar length to cut padding."""
    size = settings.batch_size
    generator = np.random.Generator(np.random.PCG64(settings.seed))
    for _ in range(settings.epochs):
        shuffled = generator.permutation(len(lengths))
        batches: list[NDArray[np.int64]] = []
        for start in range(0, len(shuffled), size * 16):
            piece = shuffled[start : start + size * 16]
            piece = piece[np.argsort(lengths[piece], kind="stable")]
            batches += [piece[at : at + size] for at in range(0, len(piece), size)]
        for number in generator.permutation(len(batches)).tolist():
            yield batches[number]


def _optimizer(model: Any, settings: TeacherTraining, steps: int) -> tuple[Any, Any]:
    import torch

    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    groups = [
        {"params": [weight for _, weight in trained if weight.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [weight for _, weight in trained if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
    rising = max(1, round(settings.warmup * steps))

    def rate(step: int) -> float:
        return min((step + 1) / rising, max(0.0, (steps - step) / max(1, steps - rising)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """One thread an operation, deterministic kernels, the seed; all put back afterwards."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA's deterministic kernels ask for
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    with torch.random.fork_rng(enabled=True):
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # a debugging aid that costs time and no kernel here needs
        try:
            yield
        finally:
            torch.utils.deterministic.fill_uninitialized_memory = filled
            torch.use_deterministic_algorithms(strict)
            torch.set_num_threads(threads)
