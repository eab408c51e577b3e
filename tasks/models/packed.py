"""Batches without padding: texts one after the other in one row, each of which attends to itself alone.

Attention is torch's own for sequences of different lengths (``torch.nn.attention.varlen``); on a CPU, which lacks it, text by text. Every
batch has the same number of tokens, filled up with texts that nobody asks for: the shapes of all products are the same then, and attention
does not split its sums, so that a text's result does not depend on what else is in its batch.

A model is packed only if its output on a sample stays what it was. Relative positions, convolutions over neighbours and the like do not.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks.models.batches import fill_up, packed_plan

if TYPE_CHECKING:
    from tasks.models.runtime import Encoded

NAME = "hardmine_packed"
_LENGTHS = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k")
_SAMPLES = ("a short text", "a longer text of a few more words, so that one of both would be padded", "text")
_TOLERANCE = 0.05  # of the length of an output, between two ways to round
_AHEAD = 8  # batches that the device is behind
_LOG = logging.getLogger(__name__)

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Tokenise = Callable[[Sequence[Any]], "Encoded"]


def is_packed(model: Any) -> bool:
    """Whether :func:`pack` was done to a model."""
    return getattr(getattr(model[0], "config", None), "_attn_implementation", None) == NAME


def pack(model: Any, tokenised: Callable[[Sequence[Any]], Encoded], name: str) -> bool:
    """Let a model take batches without padding, if it gives the same output with them.

    Args:
        model: a SentenceTransformer or a CrossEncoder, in evaluation mode.
        tokenised: gives inputs as :func:`tasks.models.runtime.tokenise` does.
        name: of the model, for the log.

    Returns:
        Whether it does; if not, the model is as it was.
    """
    pairs = hasattr(model, "num_labels")
    samples: list[Any] = [(text, _SAMPLES[0]) for text in _SAMPLES] if pairs else list(_SAMPLES)
    device = str(next(model.parameters()).device)
    undo: list[Callable[[], object]] = []
    with torch.inference_mode():
        padded = {key: value.to(device) if isinstance(value, Tensor) else value for key, value in model.preprocess(samples).items()}
        before = output_of(model, padded).float()
        try:
            undo = _switch(model, pairs)
            encoded = tokenised(samples)
            after = output_of(model, _on(device, flat(encoded, np.arange(len(samples)), encoded.limit * len(samples), offset(model))))
            apart = float((after[: len(samples)].float() - before).norm() / before.norm().clamp(min=1.0))
            reason = f"the output differs by {100 * apart:.1f} % on a sample"
        except Exception as error:  # whatever a model's own code raises: it is then run as it was written
            apart, reason = float("inf"), f"{type(error).__name__}: {error}"
    if apart <= _TOLERANCE:
        return True
    for back in reversed(undo):
        back()
    _LOG.warning("model %s: batches are padded, %s", name, reason)
    return False


def output_of(model: Any, features: dict[str, Any]) -> Tensor:
    """The vectors of a SentenceTransformer, or the scores of a CrossEncoder as a column."""
    made = model(dict(features))
    found: Tensor = made["scores"].reshape(-1, 1) if "scores" in made else made["sentence_embedding"]
    return found


def run_packed(
    model: Any, inputs: Sequence[Any], tokenised: Tokenise, budget: int, width: int, piece: int, report: Callable[[int], None]
) -> tuple[Floats, Ints]:
    """The model's output for each input. Texts are tokenised, and batches put together, while the device computes earlier ones.

    Args:
        model: packed.
        inputs: texts or pairs.
        tokenised: see :func:`pack`.
        budget: tokens a batch.
        width: columns of the output.
        piece: inputs that are tokenised at once.
        report: told of inputs as they get done.

    Returns:
        float32 (n, width) in input order, and the inputs' tokens, int64 (n,).
    """
    device, first = str(next(model.parameters()).device), offset(model)
    output, lengths = np.empty((len(inputs), width), dtype=np.float32), np.empty(len(inputs), dtype=np.int64)
    waiting: deque[tuple[Ints, Tensor]] = deque()

    def settle() -> None:
        rows, made = waiting.popleft()
        output[rows] = made.cpu().numpy()
        report(len(rows))

    def pieces() -> Iterator[tuple[Ints, dict[str, Any]]]:
        starts = range(0, len(inputs), piece)
        for start, encoded in _ahead(tokenised, [(start, inputs[start : start + piece]) for start in starts]):
            lengths[start : start + piece] = encoded.lengths
            total = max(budget, encoded.limit)
            batches = [(batch, batch) for batch in packed_plan(encoded.lengths, total)]
            for batch, features in _ahead(partial(flat, encoded, total=total, first=first), batches):
                yield batch + start, features

    with torch.inference_mode():
        for rows, features in pieces():
            waiting.append((rows, output_of(model, _on(device, features))[: len(rows)].float()))
            if len(waiting) > _AHEAD:
                settle()
        while waiting:
            settle()
    return output, lengths


def flat(encoded: Encoded, rows: Ints, total: int, first: int) -> dict[str, Any]:
    """Some inputs one after the other, filled up to ``total`` tokens.

    Args:
        encoded: the tokenised inputs.
        rows: int64 (n,): which of them.
        total: tokens of the batch, at least those of the inputs.
        first: position of a text's first token, as the model counts.

    Returns:
        Tensors on the CPU: input_ids, position_ids and what other features there are, all (1, total); where the texts begin and end,
        int32 (n + fillers + 1,), and the greatest length, as an int.
    """
    counts = fill_up(encoded.lengths[rows], total, encoded.limit)
    ends = np.concatenate([[0], np.cumsum(counts)])
    features: dict[str, Any] = dict(encoded.common)
    for key, values in encoded.features.items():
        if key != "attention_mask":
            joined = np.full((1, total), encoded.filling.get(key, 0), dtype=np.int64)
            joined[0, : ends[len(rows)]] = np.concatenate([values[row] for row in rows.tolist()])
            features[key] = torch.from_numpy(joined)
    positions = np.arange(total) - np.repeat(ends[:-1], counts) + first
    features["position_ids"] = torch.from_numpy(positions[None, :])
    borders = torch.from_numpy(ends.astype(np.int32))
    return {**features, **dict(zip(_LENGTHS, (borders, borders, int(counts.max()), int(counts.max())), strict=True))}


def offset(model: Any) -> int:
    """Position of the first token: models of the RoBERTa family count from padding_idx + 1."""
    for module in model[0].model.modules():
        padding = getattr(module, "padding_idx", None)
        if isinstance(padding, int) and isinstance(getattr(module, "position_embeddings", None), nn.Embedding):
            return padding + 1
    return 0


def _switch(model: Any, scores: bool) -> list[Callable[[], object]]:
    """Set a model to packed attention; what sets it back."""
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(NAME, _attention)
    module = model[0]
    before, allowed = module.model.config._attn_implementation, module.model_forward_params
    undo: list[Callable[[], object]] = [
        lambda: module.model.set_attn_implementation(before),
        lambda: setattr(module, "model_forward_params", allowed),
    ]
    module.model.set_attn_implementation(NAME)
    if allowed is not None:
        module.model_forward_params = {*allowed, *_LENGTHS, "position_ids"}
    if scores:
        body = getattr(module.model, module.model.base_model_prefix)
        undo.append(body.encoder.register_forward_hook(_first_tokens, with_kwargs=True).remove)
    return undo


def _first_tokens(_: nn.Module, __: tuple[Any, ...], given: dict[str, Any], output: Any) -> Any:
    """The encoder's output for each text's first token alone, (texts, 1, width): what heads of classifiers read."""
    if "cu_seq_lens_q" in given:
        output.last_hidden_state = output.last_hidden_state[0, given["cu_seq_lens_q"][:-1].long()][:, None]
    return output


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, scaling: float | None = None, **given: Any
) -> tuple[Tensor, None]:
    """The interface of transformers: query, key and value (1, heads, tokens, dim) to (1, tokens, heads, dim)."""
    borders = given["cu_seq_lens_q"]
    if not query.is_cuda:
        ends = borders.tolist()
        made = [
            nn.functional.scaled_dot_product_attention(*(each[:, :, start:end] for each in (query, key, value)), scale=scaling)
            for start, end in pairwise(ends)
        ]
        return torch.cat(made, dim=2).transpose(1, 2), None
    from torch.nn.attention.varlen import varlen_attn

    most = int(given["max_length_q"])
    rows = [each.squeeze(0).transpose(0, 1).contiguous() for each in (query, key, value)]
    return varlen_attn(*rows, borders, borders, most, most, scale=scaling, num_splits=1).unsqueeze(0), None


def _on(device: str, features: dict[str, Any]) -> dict[str, Any]:
    """Features on the device, through pinned memory where that is another one's."""
    if not device.startswith("cuda"):
        return features
    pinned = {key: value.pin_memory() if isinstance(value, Tensor) else value for key, value in features.items()}
    return {key: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value for key, value in pinned.items()}


def _ahead(compute: Callable[[Any], Any], given: Sequence[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """(name, computed) of each (name, argument), in order; one thread computes the next ones meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[tuple[Any, Future[Any]]] = deque()
        for name, argument in given:
            waiting.append((name, pool.submit(compute, argument)))
            if len(waiting) > 2:
                done, future = waiting.popleft()
                yield done, future.result()
        for done, future in waiting:
            yield done, future.result()
