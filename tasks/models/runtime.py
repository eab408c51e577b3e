"""What the embedder and the cross-encoder share: loading once a process, tokenising, running batches of fixed shape.

On a CPU every forward pass uses one thread and several run side by side: how a kernel splits its sums depends on its
thread count, so results would otherwise differ between one worker with two cores and two workers with one each.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.models.backends import use_backend
from tasks.models.batches import Batch, plan
from tasks.models.fingerprint import ModelSpec, weights_of
from tasks.models.fitting import Made, fitting
from tasks.models.location import locate
from tasks.models.memory import keep_freed_memory
from tasks.models.spans import length_of
from tasks.runner.cores import worker_cores

Report = Callable[[int], None]
Forward = Callable[[dict[str, Any]], Any]

_TOKENISED_AT_ONCE = 4096
_IN_FLIGHT = 64
_KEPT = 4  # models at once: a round's retriever, teacher and fixed encoder, and one more
_LOADED: OrderedDict[tuple[Any, ...], Any] = OrderedDict()  # the one that was used last comes last
_LOCK = threading.Lock()


@dataclass
class Encoded:
    """Tokenised inputs: for each feature one int32 array per input, and what is the same for all."""

    features: dict[str, list[NDArray[np.int32]]] = field(default_factory=dict)
    common: dict[str, Any] = field(default_factory=dict)
    filling: dict[str, int] = field(default_factory=dict)  # what pads a feature; 0 unless named
    left: bool = False  # pad before the tokens
    limit: int = 512  # the model's greatest length
    truncated: int = 0  # inputs that lost tokens

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64, shape (n,): tokens of each input."""
        return np.array([len(ids) for ids in self.features.get("input_ids", [])], dtype=np.int64)


def loaded(kind: str, spec: ModelSpec, make: Callable[[str, dict[str, Any]], Any]) -> Any:
    """A model, loaded once a process, its files compared with their fingerprint. Of many models the last few used stay loaded.

    Prompts, templates, truncated dimensions and similarities are applied outside of the model: specs that differ in them share it.

    Args:
        kind: tells models of the same files apart (embedder, cross-encoder).
        spec: what to load.
        make: from (folder, keyword arguments) to the model.

    Raises:
        ModelError: the files are not those that the run was planned with, or cannot be loaded.
    """
    causal = tuple(sorted(spec.causal.items())) if spec.causal else None
    key = (kind, spec.weights, spec.dtype, spec.device, spec.max_length, spec.trust_remote_code, spec.backend, causal)
    with _LOCK:
        if key not in _LOADED:
            while len(_LOADED) >= _KEPT:
                _LOADED.popitem(last=False)
            _LOADED[key] = _load(spec, make)
        _LOADED.move_to_end(key)
        return _LOADED[key]


def _load(spec: ModelSpec, make: Callable[[str, dict[str, Any]], Any]) -> Any:
    import torch
    import transformers

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if worker_cores() > 1 else "false")
    keep_freed_memory()
    transformers.utils.logging.disable_progress_bar()
    folder = locate(spec.path, spec.revision)
    if weights_of(str(folder), None, None, spec.adapter, spec.adapter_revision) != spec.weights:
        raise ModelError(f"model {spec.path}: its files changed after the run began", "run again: it is another model now")
    if spec.device == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            f"model {spec.path}: device cuda is set and torch finds no GPU here", "set device: cpu, or install torch for your GPU"
        )
    arguments = {
        "device": spec.device,
        "trust_remote_code": spec.trust_remote_code,
        "local_files_only": True,
        "model_kwargs": {"dtype": getattr(torch, "float32" if spec.adapter else spec.dtype), "use_safetensors": True},
    }
    try:
        model = make(str(folder), arguments)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"model {spec.path} cannot be loaded: {type(error).__name__}: {error}", "check the folder with sentence-transformers"
        ) from error
    check_tokenizer(getattr(model, "tokenizer", None), spec.path)
    if spec.adapter is not None:
        from tasks.models.adapter import merge

        model[0].model = merge(model[0].model, spec.adapter, spec.adapter_revision, spec.path)
    model.max_seq_length = _max_length(model, spec.max_length)
    model.to(dtype=getattr(torch, spec.dtype))
    model.eval()
    use_backend(model, spec, lambda inputs: tokenise(model, inputs, "", spec.path))
    return model


def check_tokenizer(tokenizer: Any, name: str) -> None:
    """Refuse a tokenizer that knows special tokens only: transformers makes one where a folder has none, and all texts look alike.

    Raises:
        ModelError: that is so.
    """
    if isinstance(getattr(tokenizer, "all_special_tokens", None), list) and len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ModelError(
            f"model {name}: its tokenizer knows no word: the folder lacks the tokenizer's files",
            "save the tokenizer beside the weights (tokenizer.save_pretrained), then run again",
        )


def _max_length(model: Any, wanted: int) -> int:
    """The wanted number of tokens, or fewer where the model has no positions for so many."""
    config = getattr(model[0], "config", None)
    return length_of(getattr(config, "model_type", None), getattr(config, "max_position_embeddings", None), wanted)


def tokenise(model: Any, inputs: Sequence[Any], prompt: str, name: str) -> Encoded:
    """Token ids of all inputs, truncated to the model's length and not padded.

    Args:
        model: a SentenceTransformer or CrossEncoder.
        inputs: texts, or (query, document) pairs.
        prompt: put before each text or query.
        name: of the model, for errors.

    Raises:
        ModelError: the model takes something else than token sequences.
    """
    tokenizer = model.tokenizer
    encoded = Encoded(
        filling={"input_ids": int(tokenizer.pad_token_id or 0)},
        left=getattr(tokenizer, "padding_side", "right") == "left",
        limit=int(model.max_seq_length),
    )
    unpadded = {"common": {"return_tensors": None}, "text": {"padding": False}}
    for start in range(0, len(inputs), _TOKENISED_AT_ONCE):
        piece = list(inputs[start : start + _TOKENISED_AT_ONCE])
        made = model.preprocess(piece, prompt=prompt or None, processing_kwargs=unpadded)
        ids = made.get("input_ids")
        if not isinstance(ids, list) or len(ids) != len(piece):
            raise ModelError(
                f"model {name} is not a transformer over tokens", "use a sentence-transformers model with a Transformer module"
            )
        for key, value in made.items():
            if isinstance(value, list) and len(value) == len(piece):
                encoded.features.setdefault(key, []).extend(np.array(row, dtype=np.int32) for row in value)
            else:
                encoded.common[key] = value
        encoded.truncated += _truncated(model, made, piece, prompt)
    return encoded


def _truncated(model: Any, made: Any, inputs: Sequence[Any], prompt: str) -> int:
    """How many inputs lost tokens. A fast tokenizer keeps what it cut off; with another one, those at the limit are tokenised again."""
    encodings = getattr(made, "encodings", None)
    if encodings is not None:
        return sum(bool(one.overflowing) for one in encodings)
    return count_truncated(model, inputs, prompt, np.array([len(ids) for ids in made["input_ids"]], dtype=np.int64))


def pad(rows: Sequence[NDArray[np.int32]], length: int, filling: int, left: bool) -> NDArray[np.int64]:
    """Rows of token ids (or masks) as one int64 array, shape (rows, length).

    >>> pad([np.array([1, 2]), np.array([3])], 3, 0, left=False).tolist()
    [[1, 2, 0], [3, 0, 0]]
    """
    result = np.full((len(rows), length), filling, dtype=np.int64)
    for number, row in enumerate(rows):
        if left:
            result[number, length - len(row) :] = row
        else:
            result[number, : len(row)] = row
    return result


def outputs(model: Any, inputs: Sequence[Any], spec: ModelSpec, forward: Forward, width: int, report: Report) -> Made:
    """The model's output for each text or pair, float32 (n, width), their tokens, int64 (n,), and how many lost some.

    On a CPU all inputs are tokenised before the first batch: the tokenizer is Rust, and uses all cores as the batches do, so that nothing
    would be won by running it beside them (docs/decisions/0014). Arguments as for :func:`run_batches`.
    """
    return fitting(lambda fits: _outputs(model, inputs, fits, forward, width, report), spec)


def _outputs(model: Any, inputs: Sequence[Any], spec: ModelSpec, forward: Forward, width: int, report: Report) -> Made:
    truncated: list[int] = []

    def tokenised(some: Sequence[Any]) -> Encoded:
        made = tokenise(model, some, spec.prompt, spec.path)
        truncated.append(made.truncated)
        return made

    if spec.backend == "packed":
        from tasks.models.packed import is_packed, run_packed

        if is_packed(model):
            output, lengths = run_packed(model, inputs, tokenised, spec.batch_tokens, width, _TOKENISED_AT_ONCE, report)
            return output, lengths, sum(truncated)
    encoded = tokenised(inputs)
    output = run_batches(encoded, spec, forward, width, report)
    if spec.backend == "int8-static":
        from tasks.models.on_cpu import check_job

        check_job(model, inputs, output, spec)
    return output, encoded.lengths, sum(truncated)


def run_batches(encoded: Encoded, spec: ModelSpec, forward: Forward, width: int, report: Report) -> NDArray[np.float32]:
    """The model's output for each input, in input order.

    Args:
        encoded: from :func:`tokenise`.
        spec: device and batch size.
        forward: from a features' dict of tensors, each (rows, length), to a tensor (rows, width).
        width: columns of the output.
        report: told of inputs as they get done.

    Returns:
        float32, shape (n, width).
    """
    import torch

    def compute(batch: Batch) -> NDArray[np.float32]:
        if spec.device == "cpu":
            torch.set_num_threads(1)
        rows = np.concatenate([batch.indices, np.repeat(batch.indices[:1], batch.rows - len(batch.indices))])
        features: dict[str, Any] = dict(encoded.common)
        for key, values in encoded.features.items():
            stacked = pad([values[row] for row in rows], batch.length, encoded.filling.get(key, 0), encoded.left)
            features[key] = torch.from_numpy(stacked).to(spec.device)
        with torch.inference_mode():
            result: NDArray[np.float32] = forward(features)[: len(batch.indices)].float().cpu().numpy()
        return result

    output = np.empty((len(encoded.lengths), width), dtype=np.float32)
    threads = worker_cores() if spec.device == "cpu" else 1
    with ThreadPoolExecutor(threads) as pool:
        for batch, result in _ahead(pool, compute, plan(encoded.lengths, spec.batch_tokens, encoded.limit)):
            output[batch.indices] = result
            report(len(batch.indices))
    return output


def _ahead(
    pool: ThreadPoolExecutor, compute: Callable[[Batch], NDArray[np.float32]], batches: Sequence[Batch]
) -> Iterator[tuple[Batch, NDArray[np.float32]]]:
    """Results in order, with a bounded number of batches under way; what is not begun is dropped on an error."""
    waiting: list[tuple[Batch, Future[NDArray[np.float32]]]] = []
    try:
        for batch in batches:
            waiting.append((batch, pool.submit(compute, batch)))
            if len(waiting) >= _IN_FLIGHT:
                first, future = waiting.pop(0)
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def count_truncated(model: Any, inputs: Sequence[Any], prompt: str, lengths: NDArray[np.int64]) -> int:
    """How many inputs lost tokens: those at the limit are tokenised again without one."""
    limit = int(model.max_seq_length)
    full = [inputs[row] for row in np.flatnonzero(lengths >= limit).tolist()]
    tokenizer = model.tokenizer
    cut = 0
    for start in range(0, len(full), _TOKENISED_AT_ONCE):
        piece = full[start : start + _TOKENISED_AT_ONCE]
        pairs = not isinstance(piece[0], str)
        first = [prompt + (item[0] if pairs else item) for item in piece]
        second = [item[1] for item in piece] if pairs else None
        ids = tokenizer(first, second, truncation=False, verbose=False)["input_ids"]
        cut += sum(len(row) > limit for row in ids)
    return cut
