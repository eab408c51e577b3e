"""What a user says about the retriever and the teacher."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from tasks.remote.settings import RemoteSettings
from tasks.settings import Settings
from tasks.templates import Template

PACKAGED = "packaged:all-MiniLM-L6-v2"

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Device = Literal["auto", "cpu", "cuda"]


class _Loaded(Settings):
    revision: str | None = Field(None, description="Branch, tag or commit of a hub model.")
    adapter: str | None = Field(None, description="A folder or hub id of a PEFT (LoRA) adapter, which is put on the model and merged.")
    adapter_revision: str | None = Field(None, description="Branch, tag or commit of a hub adapter.")
    trust_remote_code: bool = Field(False, description="Run Python code that comes with the model.")
    title_template: Template = Field("{title} {text}", description="A document's input; with an empty title it is the text alone.")
    max_length: int = Field(256, ge=8, le=131_072, description="Tokens that the model is given at most.")
    dtype: Dtype = Field("auto", description="auto: bfloat16 on a CPU or GPU that has it in hardware, else float32.")
    device: Device = Field("auto", description="auto: the GPU, where there is one that torch can use.")
    backend: Literal["auto", "torch", "fused", "packed", "int8", "int8-static"] = Field(
        "auto",
        description="fused: packed linear layers with GELU and residual sums inside, for bfloat16 on a CPU; "
        "packed: batches without padding, for bfloat16 on a GPU; int8: 8-bit linear layers on a CPU, dtype float32; "
        "int8-static: BERT-like models' linear layers in 8 bits with fixed scales, for bfloat16 on a CPU, where a sample shows them near; "
        "auto: fused or packed where that is possible.",
    )
    batch_tokens: int | None = Field(
        None,
        ge=16,
        le=4_194_304,
        description="Tokens a batch; empty: 1,024 on a CPU, 16,384 on a GPU. Part of the model's identity, since it decides the last bits.",
    )
    remote: RemoteSettings | None = Field(
        None,
        description="An endpoint that serves it: `path` is the model's name there; what is about loading (max_length, dtype, device, "
        "backend, batch_tokens) does not count.",
    )


class ModelSettings(_Loaded):
    """The retriever: ``model`` in run.yaml."""

    path: str = Field(
        PACKAGED, description="A folder, a hub id, packaged:all-MiniLM-L6-v2, or root:data/… for a checkpoint that lies in the root."
    )
    query_prompt: str = Field("", description="Put before each query.")
    document_prompt: str = Field("", description="Put before each document.")
    similarity: Literal["auto", "cosine", "dot"] = Field("auto", description="auto: what the model's own configuration says.")
    vector_dtype: Literal["float32", "float16"] = Field("float32", description="In which vectors are stored.")
    truncate_dim: int | None = Field(None, ge=1, description="Keep the first dimensions only (Matryoshka models).")


class TeacherTraining(Settings):
    """A teacher trained in the run, RocketQA's way: labelled pairs against sampled candidates."""

    body: str = Field(PACKAGED, description="The encoder to start from: a folder, a hub id, or packaged:all-MiniLM-L6-v2.")
    revision: str | None = Field(None, description="Branch, tag or commit of a hub body.")
    epochs: int = Field(2, ge=1, le=100, description="Passes over the pairs.")
    negatives: int = Field(1, ge=1, le=100, description="Sampled candidates for each labelled pair.")
    random_negatives: int = Field(
        3,
        ge=0,
        le=100,
        description="Documents of other queries for each labelled pair; without them a small teacher hardly starts to learn.",
    )
    min_rank: int = Field(1, ge=1, description="Best rank of a candidate to be sampled.")
    max_rank: int = Field(50, ge=1, description="Worst rank of a candidate to be sampled.")
    batch_size: int = Field(16, ge=1, le=4096, description="Pairs a step.")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="Peak of the linear schedule; at twice that, some seeds never take off.")
    warmup: float = Field(0.1, ge=0, le=1, description="Share of the steps in which the rate rises.")
    weight_decay: float = Field(0.01, ge=0, le=1, description="Of AdamW.")
    max_length: int = Field(64, ge=8, le=131_072, description="Tokens of a pair while training.")
    max_pairs: int = Field(20_000, ge=10, description="Pairs to train on at most; whole queries, chosen by hash.")
    frozen_layers: int = Field(0, ge=0, description="Lowest encoder layers that stay as they are; 0: all are trained.")
    train_embeddings: bool = Field(
        False, description="Train the token embeddings too; most of a small model's weights, and of a step's time."
    )
    folds: int | Literal["auto"] = Field(
        "auto",
        description="So many teachers, each scoring only queries that it was not trained on; 0: one. "
        "auto: 3, where training them costs less than half of the scoring.",
    )
    holdout: float = Field(0.1, ge=0, le=0.5, description="Share of the query groups that is kept for measuring.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description="bfloat16: autocast; weights stay float32.")
    seed: int = Field(0, ge=0, description="Of sampling, order and the new head.")

    @field_validator("folds")
    @classmethod
    def _none_or_several(cls, value: int | str) -> int | str:
        if isinstance(value, int) and not (value == 0 or 2 <= value <= 20):
            raise ValueError("folds is auto, 0 (one teacher for all), or 2 to 20")
        return value

    @model_validator(mode="after")
    def _ranks_in_order(self) -> TeacherTraining:
        if self.min_rank > self.max_rank:
            raise ValueError(f"min_rank {self.min_rank} is beyond max_rank {self.max_rank}")
        return self


class CausalSettings(Settings):
    """A causal language model as a reranker: the logit of its yes after a prompt, less that of its no."""

    template: str = Field(
        "Query: {query}\nDocument: {document}\nIs the document relevant to the query? Answer:",
        description="The prompt, with {query} and {document}; of a pair that is too long the longer side is cut, the prompt itself stays.",
    )
    chat_template: Literal["auto", "never"] = Field(
        "auto", description="auto: the prompt is the user's message of a chat, where the model's tokenizer has a template for that."
    )
    system: str = Field("", description="The system message of that chat; empty: none.")
    yes: str | None = Field(
        None, min_length=1, description="What it says of a relevant document: one token; empty: ` yes`, and in a chat `yes`."
    )
    no: str | None = Field(None, min_length=1, description="What it says of another: one token; empty: ` no`, and in a chat `no`.")

    @field_validator("template")
    @classmethod
    def _has_both(cls, template: str) -> str:
        if template.count("{query}") != 1 or template.count("{document}") != 1 or template.index("{query}") > template.index("{document}"):
            raise ValueError("needs {query}, and after it {document}, once each")
        return template


class TeacherMember(_Loaded):
    """One more teacher of an ensemble."""

    path: str = Field(description="A folder or a hub id.")
    prompt: str = Field("", description="Put before each query.")
    label: str | int | None = Field(
        None, description="Of a cross-encoder with several labels, the one that means relevant: name or number."
    )
    causal: CausalSettings | None = Field(None, description="It is a causal language model.")


class TeacherSettings(_Loaded):
    """The cross-encoder: ``teacher`` in run.yaml; a model that is there, or one that the run trains."""

    path: str | None = Field(None, description="A folder or a hub id of a cross-encoder, or of a causal language model (`causal`).")
    label: str | int | None = Field(
        None,
        description="Of a cross-encoder with several labels, the one that means relevant, by name or number; its log-odds are the logit.",
    )
    causal: CausalSettings | None = Field(
        None, description="The model is a causal language model that reranks by yes and no; {}: by default."
    )
    ensemble: tuple[TeacherMember, ...] = Field(
        (), description="More teachers: the logit is the mean of all, their standard deviation the column teacher_disagreement."
    )
    train: TeacherTraining | None = Field(None, description="Train one in the run instead.")
    depth: int = Field(50, ge=1, description="Candidates to this rank (by any source) are scored.")
    prompt: str = Field("", description="Put before each query.")
    activation: Literal["auto", "sigmoid", "identity"] = Field("auto", description="How a logit becomes teacher_sigmoid; auto: sigmoid.")
    pairs_per_partition: int = Field(20_000, ge=1, description="Pairs that a crash can lose.")
    lazy: bool = Field(
        False,
        description="Score a query's candidates only until nothing that the run's recipes draw can change: the same training rows from "
        "fewer pairs. The candidates are partial then: no other recipe selects from them, and nothing is calibrated or estimated on them.",
    )

    @model_validator(mode="after")
    def _one_teacher(self) -> TeacherSettings:
        if (self.path is None) == (self.train is None):
            raise ValueError("give either path (a cross-encoder) or train (settings for training one)")
        if self.train is not None and (self.label is not None or self.causal is not None or self.adapter is not None):
            raise ValueError("label, causal and adapter are for a teacher that is there (path), not for one that is trained")
        if self.lazy and self.ensemble:
            raise ValueError("lazy asks one teacher; with an ensemble all candidates are scored")
        if self.remote is not None and (self.path is None or self.remote.api != "tei"):
            raise ValueError("a remote teacher has a path (its name), no train, and remote.api: tei (/rerank)")
        return self

    @property
    def members(self) -> tuple[TeacherSettings, ...]:
        """The ensemble's other teachers, each as settings of its own."""
        given = {"depth": self.depth, "activation": self.activation, "pairs_per_partition": self.pairs_per_partition}
        return tuple(TeacherSettings.model_validate({**one.model_dump(), **given}) for one in self.ensemble)
