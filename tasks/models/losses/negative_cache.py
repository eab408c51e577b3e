"""Negative cache: documents of earlier steps with their embeddings; one drawn a query, encoded anew and written back.

Source: Lindgren et al., Efficient Training of Retrieval Models using Negative Cache, NeurIPS 2021 [V].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers.base.losses.merged_forward import embed_columns
from torch import Tensor, nn

from tasks.models.losses.base import EmbeddingLoss, Features
from tasks.models.losses.settings import NegativeCacheSettings, Similarity
from tasks.models.losses.similarity import masked_mean, score_matrix, score_pairs, wide
from tasks.models.losses.tables import NO_DOCUMENT, Rows

# From tokenised features to embeddings with gradients, shape (rows, dimension).
Encode = Callable[[dict[str, Tensor]], Tensor]
# (queries' places in the batch are rows) documents' codes, shape (b, k) -> True: never a negative of that query.
Excluded = Callable[[Tensor], Tensor]

_EMPTY = torch.iinfo(torch.int64).max


class NegativeCache:
    """Slots of (features, embedding, code, age). Ages are steps since a slot was last written or refreshed.

    Args:
        size: slots. New documents take the empty slots, then the oldest; among equals the first.
        dimension: of the embeddings.
        device: where all is kept.
    """

    def __init__(self, size: int, dimension: int, device: torch.device | str = "cpu") -> None:
        self.embeddings = torch.zeros(size, dimension, device=device)
        self.codes = torch.full((size,), NO_DOCUMENT, device=device)
        self.age = torch.full((size,), _EMPTY, device=device)
        self.features: dict[str, Tensor] = {}
        self._types: dict[str, torch.dtype] = {}

    def __len__(self) -> int:
        return int((self.age != _EMPTY).sum())

    def update(self, slots: Tensor, fresh: Tensor, features: dict[str, Tensor], embeddings: Tensor, codes: Tensor) -> None:
        """One step: refresh the slots that were encoded anew, let all age, put new documents in.

        Args:
            slots: different slots, int64, shape (u,).
            fresh: their new embeddings, shape (u, dimension).
            features: of the new documents; each tensor has shape (n, …).
            embeddings: of the new documents, shape (n, dimension).
            codes: of the new documents, int64, shape (n,).
        """
        self.embeddings[slots] = wide(fresh.detach()).to(self.embeddings.dtype)
        self.age[slots] = -1  # younger than all others, so that no new document takes their place
        new = self.age.argsort(descending=True, stable=True)[: len(codes)]
        self.embeddings[new] = wide(embeddings.detach()[: len(new)]).to(self.embeddings.dtype)
        self.codes[new] = codes[: len(new)]
        self._store(new, {key: value[: len(new)] for key, value in features.items()})
        self.age[new] = -1
        self.age[self.age != _EMPTY] += 1

    def features_of(self, slots: Tensor) -> dict[str, Tensor]:
        """Features as they came in, cut to the longest of the slots by ``attention_mask``."""
        found = {key: values[slots].to(self._types[key]) for key, values in self.features.items()}
        if "attention_mask" not in found:
            return found
        width = found["attention_mask"].shape[1]
        used = int(found["attention_mask"].bool().any(0).nonzero().max()) + 1 if bool(found["attention_mask"].any()) else width
        return {key: value[:, :used] if value.ndim > 1 and value.shape[1] == width else value for key, value in found.items()}

    def state(self) -> dict[str, Any]:
        """All slots, as :meth:`of` takes them."""
        kept = {"embeddings": self.embeddings, "codes": self.codes, "age": self.age, "features": self.features}
        return {**kept, "types": {key: str(kind).removeprefix("torch.") for key, kind in self._types.items()}}

    @classmethod
    def of(cls, state: dict[str, Any]) -> NegativeCache:
        """A cache from a :meth:`state`."""
        made = cls(0, 0)
        made.embeddings, made.codes, made.age, made.features = (state[name] for name in ("embeddings", "codes", "age", "features"))
        made._types = {key: getattr(torch, name) for key, name in state["types"].items()}
        return made

    def _store(self, slots: Tensor, features: dict[str, Tensor]) -> None:
        """Integers are kept as int32; wider texts than any before widen all, filled up with zeros."""
        for key, value in features.items():
            self._types.setdefault(key, value.dtype)
            value = value.int() if value.dtype == torch.int64 else value
            if key not in self.features:
                self.features[key] = torch.zeros(len(self.age), *value.shape[1:], dtype=value.dtype, device=self.age.device)
            if value.ndim > 1:
                width = max(value.shape[1], self.features[key].shape[1])
                value = _widened(value, width)
                self.features[key] = _widened(self.features[key], width)
            self.features[key][slots] = value


def _widened(values: Tensor, width: int) -> Tensor:
    missing = width - values.shape[1]
    return values if missing == 0 else torch.cat([values, values.new_zeros(len(values), missing, *values.shape[2:])], dim=1)


def gumbel_max(scores: Tensor, uniform: Tensor) -> Tensor:
    """One place a row, drawn with probability softmax(scores): argmax of scores + Gumbel noise.

    Args:
        scores: shape (b, k); -inf: never.
        uniform: uniform draws from (0, 1), shape (b, k).

    Returns:
        int64, shape (b,).
    """
    tiny = torch.finfo(uniform.dtype).tiny
    return (scores - (-uniform.clamp(min=tiny).log()).log()).argmax(1)


def surrogate(positive: Tensor, negative: Tensor, probability: Tensor) -> Tensor:
    """stopgrad(1 − p⁺) · (s⁻ − s⁺) of each row: with s⁻ drawn by softmax its mean gradient is that of −log p⁺. Shape (b,)."""
    return (1 - probability.detach()) * (negative - positive)


def staleness(old: Tensor, new: Tensor) -> Tensor:
    """‖old − new‖² / ‖new‖² of each row, shape (b,)."""
    old, new = wide(old.detach()), wide(new.detach())
    return ((old - new) ** 2).sum(1) / (new**2).sum(1).clamp(min=torch.finfo(new.dtype).tiny)


@dataclass(frozen=True)
class CacheStep:
    """What one step gives.

    Args:
        loss: to be minimised, a scalar with gradients; its value means nothing.
        cross_entropy: −log p⁺ against the nearest cached documents, a scalar.
        staleness: mean over the drawn documents, a scalar.
        slots: the different slots that were drawn, int64, shape (u,).
        fresh: their embeddings now, shape (u, dimension).
    """

    loss: Tensor
    cross_entropy: Tensor
    staleness: Tensor
    slots: Tensor
    fresh: Tensor


def draw(
    queries: Tensor,
    positives: Tensor,
    cache: NegativeCache,
    encode: Encode,
    *,
    uniform: Callable[[torch.Size], Tensor],
    excluded: Excluded | None = None,
    top_k: int = 64,
    scale: float = 20.0,
    kind: Similarity = "cosine",
) -> CacheStep:
    """The loss of a batch against the cache; the cache is not changed.

    Args:
        queries: embeddings with gradients, shape (b, dimension).
        positives: the same of their positives.
        cache: may be empty; then the loss is 0.
        encode: the model, for features from the cache.
        uniform: draws from (0, 1) of a given shape.
        excluded: which of the drawn documents' codes, shape (b, k), are no negatives of their row's query.
        top_k: nearest cached documents that take part.
        scale: multiplies similarities.
        kind: cosine or dot product.
    """
    with torch.no_grad():
        scores = (score_matrix(queries, cache.embeddings, kind) * scale).masked_fill(cache.age == _EMPTY, -torch.inf)
        scores, places = scores.topk(min(top_k, scores.shape[1]), dim=1)
        if excluded is not None:
            scores = scores.masked_fill(excluded(cache.codes[places]), -torch.inf)
        usable = scores.isfinite().any(1)
        drawn = places.gather(1, gumbel_max(scores, uniform(scores.shape).to(scores.device))[:, None])[:, 0]
    positive = score_pairs(queries, positives, kind) * scale
    log_p = torch.cat([positive.detach()[:, None], scores], dim=1).log_softmax(1)[:, 0]
    slots, back = drawn[usable].unique(return_inverse=True)
    if len(slots) == 0:
        zero = positive.sum() * 0
        return CacheStep(zero, zero.detach(), zero.detach(), slots, cache.embeddings[slots])
    fresh = encode(cache.features_of(slots))
    negative = score_pairs(queries[usable], fresh[back], kind) * scale
    losses = surrogate(positive[usable], negative, log_p[usable].exp())
    stale = staleness(cache.embeddings[slots], fresh)[back].mean()
    return CacheStep(losses.sum() / len(queries), -masked_mean(log_p, usable), stale, slots, fresh.detach())


class NegativeCacheLoss(EmbeddingLoss):
    """:func:`draw` over the documents of earlier steps; a batch's documents enter the cache after their step.

    Known and suspected relevant documents of a query are never its negatives. ``statistics`` holds the last step's
    cross_entropy, staleness (with dropout its noise is in there too) and filled slots; :meth:`said` gives the trainer's log their means.
    The cache and the generator are part of a training's checkpoints: after a resumption all goes on as if it had not been stopped.
    """

    def __init__(self, model: nn.Module, settings: NegativeCacheSettings, rows: Rows) -> None:
        super().__init__(model, settings, rows)
        self.cache: NegativeCache | None = None
        self.statistics: dict[str, float] = {}
        self._drawn: list[dict[str, float]] = []
        self._generator = torch.Generator().manual_seed(settings.seed)

    def forward(self, sentence_features: Features, labels: Tensor) -> Tensor:
        """The loss of a batch; in training the cache moves on by one step."""
        features = [dict(column) for column in sentence_features]
        together = _together(features[1:], len(labels))
        shared = {key: value for key, value in features[1].items() if key not in together}  # as a router's task
        embeddings = embed_columns(self.model, [dict(column) for column in features])  # modules add to what they are given
        codes = self.rows.columns(labels, len(embeddings) - 1)
        if self.cache is None:
            self.cache = NegativeCache(self.settings.cache_size, embeddings[0].shape[1], embeddings[0].device)
        queries = self.rows.queries[labels]
        made = draw(
            embeddings[0],
            embeddings[1],
            self.cache,
            lambda stored: self.model({**shared, **stored})["sentence_embedding"],
            uniform=lambda shape: torch.rand(shape, generator=self._generator),
            excluded=lambda found: self.rows.relevant(queries, found),
            top_k=self.settings.top_k,
            scale=self.settings.scale,
            kind=self.settings.similarity,
        )
        if self.training and torch.is_grad_enabled():
            present = codes >= 0
            new = {key: value[present] for key, value in together.items()}
            self.cache.update(made.slots, made.fresh, new, torch.cat(list(embeddings[1:]))[present], codes[present])
        self.statistics = {"cross_entropy": float(made.cross_entropy), "staleness": float(made.staleness), "filled": len(self.cache)}
        if len(made.slots):
            self._drawn.append(self.statistics)
        return made.loss

    def state(self) -> dict[str, Any]:
        """What a training goes on from."""
        cache = None if self.cache is None else self.cache.state()
        return {"cache": cache, "generator": self._generator.get_state(), "drawn": self._drawn}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a :meth:`state`."""
        self.cache = None if state["cache"] is None else NegativeCache.of(state["cache"])
        self._generator.set_state(state["generator"].cpu())
        self._drawn = list(state["drawn"])

    def said(self) -> dict[str, float]:
        """Means of cross_entropy and staleness over the steps since the last call that drew from the cache, and the slots filled now.

        Returns:
            ``cache_cross_entropy``, ``cache_staleness`` (‖old − new‖² / ‖new‖² of the drawn documents), ``cache_filled``; empty if no step
            drew.
        """
        drawn, self._drawn = self._drawn, []
        if not drawn:
            return {}
        means = {f"cache_{name}": sum(each[name] for each in drawn) / len(drawn) for name in ("cross_entropy", "staleness")}
        return {**means, "cache_filled": drawn[-1]["filled"]}


def _together(columns: list[dict[str, Tensor]], rows: int) -> dict[str, Tensor]:
    """Features of all columns one below the other, filled up with zeros to one width; what has no row for each sample is left out."""
    made = {}
    for key, first in columns[0].items():
        if not isinstance(first, Tensor) or first.ndim == 0 or len(first) != rows:
            continue
        values = [column[key] for column in columns]
        width = max(value.shape[1] for value in values) if first.ndim > 1 else 0
        made[key] = torch.cat([_widened(value, width) if first.ndim > 1 else value for value in values])
    return made
