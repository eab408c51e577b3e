"""All features that run only when a recipe asks for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from tasks.errors import UsageError, nearest
from tasks.features import (
    answers,
    centroids,
    clusters,
    containment,
    context,
    duplicates,
    evidence,
    judged,
    positive_score,
    rank_weights,
    signatures,
    size,
    stars,
)
from tasks.features.base import Call, FeatureInputs
from tasks.features.settings import SignatureSettings
from tasks.runner.stage import Stage
from tasks.schema import OPTIONAL_FEATURES
from tasks.settings import Settings, explain
from tasks.store.manifest import StageManifest


@dataclass(frozen=True)
class Feature:
    """One feature.

    Args:
        name: as in :data:`tasks.schema.OPTIONAL_FEATURES`.
        settings: what a recipe may set.
        stages: the stages behind it; the last one writes ``features.parquet``.
        build: runs them; gives the last one's manifest.
    """

    name: str
    settings: type[Settings]
    stages: tuple[Stage, ...]
    build: Callable[[Call, FeatureInputs, Any], StageManifest]

    @property
    def columns(self) -> list[tuple[str, pa.DataType]]:
        """The columns that it gives."""
        return OPTIONAL_FEATURES[self.name]


FEATURES: dict[str, Feature] = {
    feature.name: feature
    for feature in (
        Feature("containment", SignatureSettings, (signatures.STAGE, containment.STAGE), containment.build),
        Feature("positive-score", positive_score.PositiveScoreSettings, (positive_score.STAGE,), positive_score.build),
        Feature("clusters", clusters.ClusterSettings, (centroids.DOCUMENTS, centroids.QUERIES, clusters.STAGE), clusters.build),
        Feature("answers", answers.AnswerSettings, (answers.STAGE,), answers.build),
        Feature("context", context.ContextSettings, (context.STAGE,), context.build),
        Feature(
            "duplicates",
            duplicates.DuplicateSettings,
            (signatures.STAGE, duplicates.CLUSTERS, duplicates.STAGE),
            duplicates.build,
        ),
        Feature("size", size.SizeSettings, (size.STAGE,), size.build),
        Feature("evidence", evidence.EvidenceSettings, (stars.MEANS, stars.STARS, evidence.STAGE), evidence.build),
        Feature("judged", judged.JudgedSettings, (judged.STAGE,), judged.build),
        Feature("rank-weights", rank_weights.RankWeightSettings, (rank_weights.FIT, rank_weights.STAGE), rank_weights.build),
    )
}


def check(wanted: Mapping[str, Mapping[str, Any]]) -> dict[str, Settings]:
    """The settings of each feature that is asked for.

    Raises:
        UsageError: there is no such feature, or it has no such setting, or a value is wrong.
    """
    found: dict[str, Settings] = {}
    for name in sorted(wanted):
        if name not in FEATURES:
            raise UsageError(f"there is no feature {name!r}", nearest(name, FEATURES))
        try:
            found[name] = FEATURES[name].settings.model_validate(dict(wanted[name]))
        except ValidationError as error:
            raise UsageError(*explain(error, f"features.{name}")) from error
    return found
