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
    """A loaded cross-encoder with one output. A logit depends on its own pair alone.

    Args:
        spec: what to load; its prompt is put before each query.

    Raises:
        ModelError: the model cannot be loaded, has no scoring head or several outputs.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._model = loaded("cross-encoder", spec, lambda folder, arguments: _make(folder, arguments, spec.path))

    def score(self, pairs: Sequence[tuple[str, str]], report: Report = lambda _: None) -> Scores:
        """Logits of (query, document) pairs, the template applied already; the longer side of a pair is truncated first.

        Raises:
            ModelError: a logit is not finite, or all of them are the same.
        """
        if len(pairs) == 0:
            return Scores(np.empty(0, dtype=np.float32), 0, 0)
        output, lengths, truncated = outputs(self._model, pairs, self.spec, self._forward, 1, report)
        logits = output[:, 0]
        check_logits(logits, self.spec.path)
        return Scores(logits, int(lengths.sum()), truncated)

    def _forward(self, features: dict[str, Any]) -> Any:
        return self._model(features)["scores"].reshape(-1, 1)


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


def _make(folder: str, arguments: dict[str, Any], name: str) -> Any:
    _require_head(Path(folder), name)
    from sentence_transformers import CrossEncoder as Loaded

    model = Loaded(folder, **arguments)
    if model.num_labels != 1:
        raise ModelError(f"teacher {name} has {model.num_labels} outputs for a pair", "use a cross-encoder with one output (num_labels=1)")
    return model


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
