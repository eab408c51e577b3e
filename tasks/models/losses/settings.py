"""What can be set for each loss. Imports no torch, so that forms and runs can be checked without it.

A loss's ``kind`` is its name in the registry. Certainty of a source: [V] read in the authors' public code, [P] in the
paper, [T] in third-party text, [K] general knowledge.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tasks.settings import Settings

Similarity = Literal["cosine", "dot"]
Scale = Annotated[float, Field(gt=0, description="Multiplies the similarity before the softmax; 1 / temperature.")]
Temperature = Annotated[float, Field(gt=0, description="Divides scores before the softmax.")]
MiniBatch = Annotated[
    int | None,
    Field(ge=1, description="Rows that are embedded at a time, with gradients cached (GradCache); empty: the whole batch at once."),
]
Share = Annotated[float, Field(ge=0, le=1)]


class LossSettings(Settings):
    """What all losses share."""

    kind: str
    similarity: Similarity = Field("cosine", description="How query and document are compared; dot for models trained with it.")


class InBatchSettings(LossSettings):
    """What losses share that take other rows' documents as negatives."""

    scale: Scale = 20.0
    gather_across_devices: bool = Field(
        False,
        description="Documents of all devices serve as negatives (RocketQA's cross-batch negatives), where train.devices is over 1 or a "
        "trainer of your own runs torch.distributed; on one device it changes nothing.",
    )
    mini_batch_size: MiniBatch = None


class MultipleNegativesRankingSettings(InBatchSettings):
    """In-batch softmax without masks: sentence-transformers' own loss (with mini_batch_size its cached form).

    Source: DPR; GradCache, arXiv 2101.06983 [V].
    """

    kind: Literal["multiple_negatives_ranking"] = "multiple_negatives_ranking"


class MaskedMultipleNegativesRankingSettings(InBatchSettings):
    """In-batch softmax in which another row's document is left out where it is relevant, or probably relevant, to the query.

    Source: RepBERT and STAR mask by qrels [V]; suspected pairs and weights of negatives are Hardmine's.
    """

    kind: Literal["masked_multiple_negatives_ranking"] = "masked_multiple_negatives_ranking"


class MarginMseSettings(LossSettings):
    """Squared error of the student's margins against the teacher's.

    Source: Hofstätter et al., arXiv 2010.02666 [V].
    """

    kind: Literal["margin_mse"] = "margin_mse"
    similarity: Similarity = Field("dot", description="How query and document are compared.")
    scale: Scale = 1.0


class DualSupervisionSettings(LossSettings):
    """MarginMSE on a row's own list plus, weighted, MarginMSE on the batch's other documents.

    Source: TAS-B, arXiv 2104.06967; weight 0.75 and the half in the authors' training code [V].
    """

    kind: Literal["dual_supervision"] = "dual_supervision"
    similarity: Similarity = Field("dot", description="How query and document are compared.")
    scale: Scale = 1.0
    in_batch_weight: float = Field(0.75, ge=0, description="Weight of the in-batch part; its two means count one half each.")


class _Distillation(Settings):
    student_temperature: Temperature = 0.05
    teacher_temperature: Temperature = 1.0
    scale_loss: bool = Field(False, description="Multiply by the student's temperature squared, as DistillKLDivLoss does.")


class KlDivergenceSettings(_Distillation, LossSettings):
    """Divergence of the student's distribution over a row's own list from the teacher's.

    Source: Hinton et al.; Lin et al., arXiv 2010.11386 [K].
    """

    kind: Literal["kl_divergence"] = "kl_divergence"


class ContrastiveKlSettings(_Distillation, InBatchSettings):
    """alpha · masked in-batch softmax + (1 − alpha) · divergence from the teacher. Source: [K]."""

    kind: Literal["contrastive_kl"] = "contrastive_kl"
    alpha: Share = Field(0.5, description="Weight of the in-batch softmax.")


class PassageCentricSettings(InBatchSettings):
    """PAIR: (1 − alpha) · query-centric + alpha · passage-centric softmax.

    Source: PAIR, ACL Findings 2021; alpha 0.1 [V].
    """

    kind: Literal["passage_centric"] = "passage_centric"
    alpha: Share = Field(0.1, description="Weight of the passage-centric part.")


class ConfidenceRegularizedSettings(InBatchSettings):
    """Contrastive confidence regularisation: −log p⁺ + beta · mean log p.

    Source: passage sieve, AAAI 2024 [V]; beta about 0.5 for cosine.
    """

    kind: Literal["confidence_regularized"] = "confidence_regularized"
    beta: float = Field(0.5, ge=0, le=1, description="Weight of the mean log-probability over the candidates.")


class RankWeightedSettings(LossSettings):
    """log(1 + e^(s_j − s_i)) · |1/r_i − 1/r_j| over pairs of a row's list where i has the higher label.

    Source: CL-DRD's curriculum loss, with the mean over pairs [V].
    """

    kind: Literal["rank_weighted"] = "rank_weighted"
    similarity: Similarity = Field("dot", description="How query and document are compared.")
    scale: Scale = 1.0
    weighted: bool = Field(True, description="Weight pairs by their reciprocal ranks.")
    reduction: Literal["pairs", "queries"] = Field("pairs", description="Mean over all pairs, or over the means of the queries.")


class LiveRetrievalSettings(LossSettings):
    """ADORE: the rank-weighted pairwise loss over what the frozen index gives for the current query; LTRe: without weights.

    Source: ADORE [V], LTRe [T].
    """

    kind: Literal["live_retrieval"] = "live_retrieval"
    similarity: Similarity = Field("dot", description="How query and document are compared.")
    scale: Scale = 1.0
    top_k: int = Field(200, ge=1, description="Documents that are retrieved a query and step.")
    weighted: bool = Field(True, description="Weight pairs by their reciprocal ranks (ADORE); false: LTRe.")
    metric_cut: int | None = Field(None, ge=1, description="Reciprocal ranks beyond this one count as 0 (ADORE's metric_cut).")
    block_size: int = Field(65_536, ge=1, description="Documents that are scored at a time.")


class LexicalMarginSettings(LossSettings):
    """relu(margin − lexical_weight · (bm25⁺ − bm25⁻) − (s⁺ − s⁻)). Source: RANCE [V].

    A pair of which BM25 did not retrieve both documents takes no part; the training's facts count them (``pairs_without_bm25``). Mine deep
    with the source bm25.
    """

    kind: Literal["lexical_margin"] = "lexical_margin"
    similarity: Similarity = Field("dot", description="How query and document are compared.")
    scale: Scale = 1.0
    margin: float = Field(1.0, description="The margin before the lexical part.")
    lexical_weight: float = Field(0.1, ge=0, description="Weight of the BM25 margin.")


class NegativeCacheSettings(LossSettings):
    """Negatives from a cache of documents and embeddings of earlier steps, one a query, re-encoded.

    Source: Lindgren et al., NeurIPS 2021 [V].
    """

    kind: Literal["negative_cache"] = "negative_cache"
    scale: Scale = 20.0
    cache_size: int = Field(131_072, ge=1, description="Documents in the cache; the least recently used goes first.")
    top_k: int = Field(64, ge=1, description="Nearest cached documents among which one is drawn.")
    seed: int = Field(0, ge=0, description="Seed of the draws.")


class NoisyPairCorrectorSettings(LossSettings):
    """Pairs whose positive looks no better than a random document get only the divergence from a moving-average model.

    Source: NPC, arXiv 2311.03798 [P]; threshold, momentum and the weight of the divergence are defaults of ours [K].
    """

    kind: Literal["noisy_pair_corrector"] = "noisy_pair_corrector"
    scale: Scale = 20.0
    threshold: Share = Field(0.5, description="A pair is clean from this probability on.")
    momentum: Share = Field(0.999, description="Share of the old weights in each step of the moving average.")
    consistency: float = Field(1.0, ge=0, description="Weight of the divergence from the moving-average model.")
    seed: int = Field(0, ge=0, description="Seed of the mixture's start.")


AnyLoss = Annotated[
    MultipleNegativesRankingSettings
    | MaskedMultipleNegativesRankingSettings
    | MarginMseSettings
    | DualSupervisionSettings
    | KlDivergenceSettings
    | ContrastiveKlSettings
    | PassageCentricSettings
    | ConfidenceRegularizedSettings
    | RankWeightedSettings
    | LiveRetrievalSettings
    | LexicalMarginSettings
    | NegativeCacheSettings
    | NoisyPairCorrectorSettings,
    Field(discriminator="kind"),
]
