"""Put 8-bit layers in the place of a loaded model's, if its output on a sample stays near what it was."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tasks.models.eight_bit.layers import FirstTokenLayer, Layer, Seen
from tasks.models.eight_bit.linear import Range
from tasks.models.eight_bit.sample import PAIRS, TEXTS

NEAR = 0.995  # mean cosine of vectors with those of the model as it was
RANKS = 0.99  # rank correlation of scores with those of the model as it was
_RANKS_OF_A_JOB = 0.97  # the same of a few pairs, many of which may have about the same score
_FEW = 8  # of the sample, by which it is seen what is read
_LOG = logging.getLogger(__name__)

exact = threading.local()

Run = Callable[[Sequence[Any]], NDArray[np.float32]]


class EightBitEncoder(nn.Module):  # type: ignore[misc]
    """In the place of a BERT-like encoder, which it keeps: in a thread that has set ``exact.asked`` that one runs.

    Args:
        encoder: what is replaced.
        seen: inputs of its layers on the sample.
        first: only the first token's output is read, and given.
    """

    def __init__(self, encoder: nn.Module, seen: list[Seen], first: bool) -> None:
        super().__init__()
        self.replaced = encoder
        *lower, last = encoder.layer
        self._layers: list[Layer | FirstTokenLayer] = [Layer(*given) for given in zip(lower, seen[:-1], strict=True)]
        self._layers.append(FirstTokenLayer(last) if first else Layer(last, seen[-1]))

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, **given: Any) -> Any:
        """As transformers' own: (rows, length, width), and a mask (rows, 1, length or 1, length) of booleans or addends."""
        from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

        if getattr(exact, "asked", False):
            return self.replaced(hidden_states, attention_mask, **given)
        rows, length, width = hidden_states.shape
        mask = torch.ones(rows, length, dtype=torch.bfloat16)
        if attention_mask is not None:
            seen = attention_mask[:, 0, 0]
            mask = (seen if seen.dtype == torch.bool else seen == 0).to(torch.bfloat16)
        hidden = hidden_states.float().reshape(-1, width)
        for layer in self._layers:
            hidden = layer(hidden, mask)
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=hidden.view(rows, -1, width).to(hidden_states.dtype))


def quantise(model: nn.Module, run: Run, name: str) -> bool:
    """Replace the encoder in place, if that is possible here.

    Args:
        model: a SentenceTransformer or CrossEncoder in evaluation mode, bfloat16, on a CPU.
        run: its outputs for texts or pairs, (n, width), without padding of several to one length.
        name: of the model, for the log.

    Returns:
        Whether it did; if not, the model is as it was.
    """
    inputs: Sequence[Any] = PAIRS if hasattr(model, "num_labels") else TEXTS
    reason = "it is not built as BERT is"
    for parent, child in _encoders(model):
        encoder = getattr(parent, child)
        try:
            with torch.inference_mode():
                made: list[NDArray[np.float32]] = []
                seen = observed(encoder, partial(_keep, made, run, inputs))
                first = inputs is PAIRS and _reads_the_first_token(encoder, made[0][:_FEW], partial(run, inputs[:_FEW]))
                setattr(parent, child, EightBitEncoder(encoder, seen, first))
                near, reason = compared(made[0], run(inputs))
        except (RuntimeError, AttributeError, TypeError, ValueError) as error:  # of a model that only looks like BERT
            near, reason = False, f"{type(error).__name__}: {error}"
        if near:
            return True
        setattr(parent, child, encoder)
    _LOG.warning("model %s: 8-bit layers are not used, %s", name, reason)
    return False


def _keep(made: list[NDArray[np.float32]], run: Run, inputs: Sequence[Any]) -> None:
    made.append(run(inputs))


def _reads_the_first_token(encoder: nn.Module, before: NDArray[np.float32], run: Callable[[], NDArray[np.float32]]) -> bool:
    """Whether the model's output is the same where it is given the encoder's first token alone."""

    def cut(_: nn.Module, __: tuple[Tensor, ...], output: Any) -> Any:
        output.last_hidden_state = output.last_hidden_state[:, :1]
        return output

    hook = encoder.register_forward_hook(cut)
    try:
        return bool(np.allclose(before, run(), rtol=1e-2, atol=1e-3))
    except (RuntimeError, IndexError):  # it asks for further tokens
        return False
    finally:
        hook.remove()


def warn_if_far(model: nn.Module, made: NDArray[np.float32], run: Callable[[], NDArray[np.float32]], name: str) -> None:
    """Say so if outputs that were made in 8 bits are not near those of the layers that were replaced.

    They are kept: another backend for some of the jobs would mix two models' outputs.

    Args:
        model: quantised, or not.
        made: float32 (n, width), of some inputs.
        run: gives these inputs' outputs anew.
        name: of the model, for the log.
    """
    if not len(made) or not any(isinstance(module, EightBitEncoder) for module in model.modules()):
        return
    exact.asked = True
    try:
        near, how = compared(run(), made, _RANKS_OF_A_JOB)
    finally:
        exact.asked = False
    if not near:
        _LOG.warning(
            "model %s: of this job's own texts, %s with those of the layers that 8-bit ones replaced; set backend: fused", name, how
        )


def observed(encoder: nn.Module, run: Callable[[], object]) -> list[Seen]:
    """What the layers see while ``run`` runs."""
    found: list[dict[str, Range]] = [{} for _ in encoder.layer]
    peaks: list[list[Tensor]] = [[] for _ in encoder.layer]
    hooks = []

    def watch(ranges: dict[str, Range], name: str) -> Callable[..., None]:
        def hook(_: nn.Module, given: tuple[Tensor, ...]) -> None:
            rows = given[0].float().flatten(0, -2)
            now = Range(rows.amin(dim=0), rows.amax(dim=0))
            ranges[name] = now.also(ranges[name]) if name in ranges else now

        return hook

    def logits(largest: list[Tensor]) -> Callable[..., None]:
        def hook(own: nn.Module, given: tuple[Tensor, ...], named: dict[str, Any]) -> None:
            hidden, size = given[0] if given else named["hidden_states"], own.attention_head_size
            query, key = (part(hidden).float().unflatten(-1, (-1, size)).transpose(1, 2) for part in (own.query, own.key))
            largest.append((query @ key.transpose(-1, -2)).amax(dim=-1).transpose(0, 1).flatten(1) / math.sqrt(size))

        return hook

    for ranges, largest, layer in zip(found, peaks, encoder.layer, strict=True):
        hooks.append(layer.attention.self.register_forward_pre_hook(logits(largest), with_kwargs=True))
        dense = {"out": layer.attention.output.dense, "up": layer.intermediate.dense, "down": layer.output.dense}
        for name, module in {"joined": layer.attention.self.value, **dense}.items():
            hooks.append(module.register_forward_pre_hook(watch(ranges, name)))
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return [Seen(**ranges, peaks=torch.cat(largest, dim=1)) for ranges, largest in zip(found, peaks, strict=True)]


def compared(before: NDArray[np.float32], rounded: NDArray[np.float32], ranks: float = RANKS) -> tuple[bool, str]:
    """Whether outputs are near enough, and how near.

    Args:
        before: float32 (n, width) of the model as it was: vectors, or scores where the width is 1.
        rounded: of the 8-bit one.
        ranks: the least rank correlation of scores.

    >>> compared(np.array([[1.0], [2.0], [3.0]], np.float32), np.array([[1.1], [2.0], [2.9]], np.float32))
    (True, 'scores have a rank correlation of 1.0000')
    >>> compared(np.array([[1.0, 0.0]], np.float32), np.array([[1.0, 1.0]], np.float32))
    (False, 'vectors have a cosine of 0.7071')
    """
    if not np.isfinite(rounded).all():
        return False, "outputs are not finite"
    if before.shape[1] == 1:
        places = [np.argsort(np.argsort(one[:, 0], kind="stable"), kind="stable") for one in (before, rounded)]
        near = float(np.corrcoef(places[0], places[1])[0, 1])
        return near >= ranks, f"scores have a rank correlation of {near:.4f}"
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(rounded, axis=1)
    near = float(((before * rounded).sum(axis=1) / np.maximum(lengths, 1e-12)).mean())
    return near >= NEAR, f"vectors have a cosine of {near:.4f}"


def _encoders(model: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """(parent, name of the child) of what has layers as BERT has them."""
    for module in model.modules():
        for child, inner in module.named_children():
            layers = getattr(inner, "layer", None)
            if isinstance(layers, nn.ModuleList) and len(layers) and all(_is_layer(layer) for layer in layers):
                yield module, child
                return


def _is_layer(layer: nn.Module) -> bool:
    try:
        linears = [layer.attention.self.query, layer.attention.output.dense, layer.intermediate.dense, layer.output.dense]
        norms = [layer.attention.output.LayerNorm, layer.output.LayerNorm]
    except AttributeError:
        return False
    activation = getattr(layer.intermediate, "intermediate_act_fn", None)
    plain = getattr(activation, "act", activation)
    gelu = plain is nn.functional.gelu or (isinstance(plain, nn.GELU) and plain.approximate == "none")
    return gelu and all(isinstance(one, nn.Linear) for one in linears) and all(isinstance(one, nn.LayerNorm) for one in norms)
