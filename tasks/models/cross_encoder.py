"""A cross-encoder: (query, document) pairs in, one raw logit each out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.models.fingerprint import ModelSpec
from tasks.models.runtime import Report, loaded, outputs

CONSTANT_FROM = 50


@dataclass(frozen=True)
class Scores:
    """What :meth:`CrossEncoder.score` gives.

    Args:
        logits: float32, shape (n,): before any activation.
        tokens: in all pairs together, after truncation.
        truncated: pairs that lost tokens.
    """

    logits: NDArray[np.float32]
    tokens: int
    truncated: int


class CrossEncoder:
    """A loaded teacher: a cross-encoder with one label or several, or a causal language model. A logit depends on its own pair alone.

    Args:
        spec: what to load; its prompt is put before each query.

    Raises:
        ModelError: the model cannot be loaded, has no scoring head, or several labels of which none is named.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        kind = "causal" if spec.causal else "cross-encoder"
        self._model = loaded(kind, spec, lambda folder, arguments: _make(folder, arguments, spec))
        self._label = _label(self._model, spec)

    def score(self, pairs: Sequence[tuple[str, str]], report: Report = lambda _: None) -> Scores:
        """Logits of (query, document) pairs, the template applied already; the longer side of a pair is truncated first.

        Raises:
            ModelError: a logit is not finite, or all of them are the same.
        """
        if len(pairs) == 0:
            return Scores(np.empty(0, dtype=np.float32), 0, 0)
        width = 1 if self._label is None else int(self._model.num_labels)
        output, lengths, truncated = outputs(self._model, pairs, self.spec, self._forward, width, report)
        logits = output[:, 0] if self._label is None else log_odds(output, self._label)
        check_logits(logits, self.spec.path)
        return Scores(logits, int(lengths.sum()), truncated)

    def _forward(self, features: dict[str, Any]) -> Any:
        scores = self._model(features)["scores"]
        return scores.reshape(len(scores), -1)


def check_logits(logits: NDArray[np.float32], name: str) -> None:
    """Refuse scores that say nothing.

    Raises:
        ModelError: a logit is not finite, or 50 pairs or more all have the same one.
    """
    bad = int((~np.isfinite(logits)).sum())
    if bad:
        raise ModelError(f"teacher {name} gives {bad} of {len(logits)} scores that are not finite", "set dtype: float32")
    if len(logits) >= CONSTANT_FROM and float(logits.min()) == float(logits.max()):
        raise ModelError(
            f"teacher {name} gives all of {len(logits)} pairs the score {float(logits[0]):g}",
            "use another teacher: this one has not learnt to score",
        )


def log_odds(logits: NDArray[np.float32], label: int) -> NDArray[np.float32]:
    """One label's log-odds against all others, of softmax logits: float32, shape (n,).

    Its sigmoid is the label's softmax probability.

    Args:
        logits: shape (n, labels).
        label: which.

    >>> log_odds(np.array([[0.0, 0.0, np.log(2.0)]], dtype=np.float32), 2).round(6).tolist()
    [0.0]
    """
    others = np.delete(logits.astype(np.float64), label, axis=1)
    most = others.max(axis=1)
    rest = most + np.log(np.exp(others - most[:, None]).sum(axis=1))
    found: NDArray[np.float32] = (logits[:, label] - rest).astype(np.float32)
    return found


def _make(folder: str, arguments: dict[str, Any], spec: ModelSpec) -> Any:
    if spec.causal is not None:
        from tasks.models.causal import CausalReranker

        return CausalReranker(folder, arguments, spec.causal, spec.path)
    _require_head(Path(folder), spec.path)
    from sentence_transformers import CrossEncoder as Loaded

    return Loaded(folder, **arguments)


def _label(model: Any, spec: ModelSpec) -> int | None:
    """The number of the label that means relevant; ``None`` of a model with one output.

    Raises:
        ModelError: there are several and none is named, or none of that name or number.
    """
    labels = int(getattr(model, "num_labels", 1))
    if labels == 1 and spec.label is None:
        return None
    known = {int(number): str(name) for number, name in (getattr(model[0].config, "id2label", None) or {}).items()}
    listed = ", ".join(f"{number}: {known.get(number, number)}" for number in range(labels))
    if spec.label is None:
        raise ModelError(f"teacher {spec.path} has {labels} outputs for a pair", f"say which one means relevant: teacher.label ({listed})")
    wanted = [number for number in range(labels) if spec.label in (number, str(number), known.get(number))]
    if labels == 1 or not wanted:
        raise ModelError(f"teacher {spec.path}: there is no label {spec.label!r} among several", f"its labels are {listed}")
    return wanted[0]


def _require_head(folder: Path, name: str) -> None:
    """A body without a head would be given random weights for one without a word."""
    described = folder / "config_sentence_transformers.json"
    if described.is_file() and json.loads(described.read_text()).get("model_type") == "CrossEncoder":
        return
    config = folder / "config.json"
    architectures = (json.loads(config.read_text()).get("architectures") or []) if config.is_file() else []
    if not any(architecture.endswith(("ForSequenceClassification", "ForCausalLM")) for architecture in architectures):
        raise ModelError(
            f"teacher {name} has no scoring head ({', '.join(architectures) or 'no architecture'})",
            f"train one from it: teacher: {{train: {{body: {name}}}}}",
        )
