"""All losses by name. Imports no torch: a loss's module is imported when the loss is built.

Adding a loss: its settings in ``settings.py``, its class, its line here, its test.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from tasks.errors import UsageError, nearest
from tasks.models.losses import settings as of
from tasks.settings import explain

if TYPE_CHECKING:
    from torch import nn

    from tasks.models.losses.tables import Rows

_HERE = "tasks.models.losses"


@dataclass(frozen=True)
class Entry:
    """One loss.

    Args:
        settings: its settings; their docstring has the formula, its source and certainty.
        function: ``module:Class`` of the loss.
        uses_rows: a sample's label is its row number in ``Rows``; else the loss reads no label.
        values: values that ``Rows`` must have: teacher, label, lexical.
        materials: further arguments that :func:`build` needs.
    """

    settings: type[of.LossSettings]
    function: str
    uses_rows: bool = True
    values: tuple[str, ...] = ()
    materials: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The ``kind`` in the settings."""
        return str(self.settings.model_fields["kind"].default)

    def load(self) -> Any:
        """The loss's class."""
        module, name = self.function.split(":")
        return getattr(importlib.import_module(module), name)


_ENTRIES = (
    Entry(of.MultipleNegativesRankingSettings, f"{_HERE}.own:multiple_negatives_ranking", uses_rows=False),
    Entry(of.MaskedMultipleNegativesRankingSettings, f"{_HERE}.contrastive:MaskedMultipleNegativesRankingLoss"),
    Entry(of.MarginMseSettings, f"{_HERE}.distillation:MarginMseLoss", values=("teacher",)),
    Entry(of.DualSupervisionSettings, f"{_HERE}.distillation:DualSupervisionLoss", values=("teacher",), materials=("in_batch_teacher",)),
    Entry(of.KlDivergenceSettings, f"{_HERE}.distillation:KlDivergenceLoss", values=("teacher",)),
    Entry(of.ContrastiveKlSettings, f"{_HERE}.distillation:ContrastiveKlLoss", values=("teacher",)),
    Entry(of.PassageCentricSettings, f"{_HERE}.contrastive:PassageCentricLoss"),
    Entry(of.ConfidenceRegularizedSettings, f"{_HERE}.contrastive:ConfidenceRegularizedLoss"),
    Entry(of.RankWeightedSettings, f"{_HERE}.pairwise:RankWeightedLoss", values=("label",)),
    Entry(of.LiveRetrievalSettings, f"{_HERE}.live_retrieval:LiveRetrievalLoss", materials=("vectors",)),
    Entry(of.LexicalMarginSettings, f"{_HERE}.pairwise:LexicalMarginLoss", values=("lexical",)),
    Entry(of.NegativeCacheSettings, f"{_HERE}.negative_cache:NegativeCacheLoss"),
    Entry(of.NoisyPairCorrectorSettings, f"{_HERE}.noisy_pairs:NoisyPairCorrectorLoss"),
)

LOSSES: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def parse(values: Mapping[str, Any]) -> of.AnyLoss:
    """Settings from what a user wrote, as ``{"kind": "contrastive_kl", "alpha": 0.3}``.

    Raises:
        UsageError: the name or a setting is wrong.
    """
    if (kind := values.get("kind")) not in LOSSES:
        raise UsageError(f"loss.kind: there is no loss {kind!r}", nearest(str(kind), LOSSES))
    try:
        settings: of.AnyLoss = TypeAdapter(of.AnyLoss).validate_python(dict(values))
    except ValidationError as error:
        raise UsageError(*explain(error, "loss")) from error
    return settings


def build(model: nn.Module, settings: of.AnyLoss, rows: Rows | None = None, **materials: Any) -> nn.Module:
    """The loss that the trainer is given.

    Args:
        model: the retriever, a SentenceTransformer.
        settings: of one of the losses; with mini_batch_size the loss caches its gradients.
        rows: what the labels refer to.
        materials: ``in_batch_teacher`` for dual_supervision, ``vectors`` for live_retrieval.

    Raises:
        UsageError: something that the loss needs is missing.
    """
    entry = LOSSES[settings.kind]
    if not entry.uses_rows:
        made: nn.Module = entry.load()(model, settings)
        return made
    wanting = [name for name in entry.materials if materials.get(name) is None]
    if rows is None:
        wanting.append("rows")
    else:
        wanting += [f"rows with '{name}'" for name in entry.values if name not in rows.names]
    if wanting:
        raise UsageError(f"loss {entry.name} needs {' and '.join(wanting)}", "give it, or choose another loss")
    loss = entry.load()(model, settings, rows, **{name: materials[name] for name in entry.materials})
    size = getattr(settings, "mini_batch_size", None)
    return importlib.import_module(f"{_HERE}.base").Cached(loss, size) if size else loss
