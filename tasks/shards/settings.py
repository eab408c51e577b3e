"""What decides the content of training files besides the selection."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tasks.settings import Settings
from tasks.templates import Template

# Reasons that mean: probably relevant. Rejected for one of them, a document must not serve as an in-batch negative.
SUSPECT_REASONS = (
    "absolute_margin",
    "answer_match",
    "duplicate",
    "judged_relevant",
    "labelled",
    "likely_relevant",
    "max_score",
    "near_duplicate",
    "near_duplicate_cosine",
    "planted",
    "relative_margin",
    "teacher_ceiling",
)


FlagEmbeddingType = Literal["normal", "only_1neg", "symmetric_class", "symmetric_clustering", "symmetric_sts"]


class FlagEmbeddingSettings(Settings):
    """FlagEmbedding's fields of each row that are no texts."""

    prompt: str | None = Field(
        None,
        description="`prompt`, which stands before the query in place of query_instruction_for_retrieval; none: the model's query_prompt.",
    )
    type: FlagEmbeddingType = Field(
        "normal", description="`type`, by which its same-dataset batches set their size, their negatives and the side that gets the prompt."
    )


class ShardSettings(Settings):
    """How training rows become files."""

    num_negatives: int = Field(5, ge=0, description="Negatives in an n-tuple; rows that have fewer are dropped and counted.")
    rows_per_shard: int = Field(100_000, ge=1, description="Most rows in one file.")
    document_template: Template = Field("{title} {text}", description="A document's text in training; without a title the text alone.")
    output_scores: bool = Field(
        False, description="Scores in sentence-transformers' formats, as its output_scores; pairs without a score are dropped."
    )
    score: str = Field("dense_score", pattern=r"^[a-z][a-z0-9_]*$", description="The scored column that score columns take.")
    query_prompt: str = Field("", description="FlagEmbedding's `prompt`.")
    type: FlagEmbeddingType = Field("normal", description="FlagEmbedding's `type`.")
    split: str = Field(
        "", description="The split that dataset.split names: its queries are written too, as they are all that was asked for."
    )
    suspect_reasons: tuple[str, ...] = Field(
        SUSPECT_REASONS, description="Rejections for these reasons are listed in the sidecar's suspected_ids."
    )
