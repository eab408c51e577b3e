"""sentence-transformers' own losses, by our settings."""

from __future__ import annotations

from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss, MultipleNegativesRankingLoss
from sentence_transformers.util import cos_sim, dot_score
from torch import nn

from tasks.models.losses.settings import MultipleNegativesRankingSettings


def multiple_negatives_ranking(model: nn.Module, settings: MultipleNegativesRankingSettings) -> nn.Module:
    """The in-batch softmax without masks; its cached form with ``mini_batch_size``."""
    options = {
        "scale": settings.scale,
        "similarity_fct": cos_sim if settings.similarity == "cosine" else dot_score,
        "gather_across_devices": settings.gather_across_devices,
    }
    if settings.mini_batch_size:
        return CachedMultipleNegativesRankingLoss(model, mini_batch_size=settings.mini_batch_size, **options)
    return MultipleNegativesRankingLoss(model, **options)
