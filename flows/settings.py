"""run.yaml: the settings of one mining round, which are also the Prefect flow's parameter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.corpus.settings import DatasetSettings
from tasks.evaluate.settings import EvaluateSettings
from tasks.folds import Fold
from tasks.judge.settings import JudgeSettings
from tasks.models.settings import ModelSettings, TeacherSettings
from tasks.models.stored import as_reference
from tasks.models.train_settings import TrainSettings
from tasks.remote.settings import RemoteSettings
from tasks.retrieve.further_settings import FurtherSource
from tasks.retrieve.settings import RetrieveSettings
from tasks.settings import Settings
from tasks.shards.settings import FlagEmbeddingSettings
from tasks.staleness.settings import StalenessSettings
from tasks.store.storage import Storage
from tasks.truth.settings import TruthSettings

WORKER_PATIENCE = 300
Format = Literal[
    "triplet",
    "n-tuple",
    "labeled-pair",
    "labeled-list",
    "flagembedding",
    "tevatron",
    "tevatron-ids",
    "listwise",
    "ids",
    "trec-run",
    "trec-qrels",
    "swift",
    "llamaindex",
    "llamaindex-rerank",
]


class StopSettings(Settings):
    """When several rounds end before the last one."""

    patience: int = Field(2, ge=1, description="Rounds without gain in the first measure of `evaluate`, after which it ends.")
    min_gain: float = Field(0.0, ge=0, description="What counts as a gain: more than this.")
    staleness_floor: float = Field(
        0.0, ge=0, le=1, description="End where the round before's negatives lost less than this share of their loss share; 0: never."
    )


class MineSettings(Settings):
    """One mining round, or several with a training after each."""

    root: str = Field("./mining", description="Where everything is kept: a folder, or s3://bucket/prefix.")
    dataset: DatasetSettings = Field(description="The corpus, its queries and labels.")
    model: ModelSettings = Field(ModelSettings(path="packaged"), description="The retriever.")
    document_model: ModelSettings | None = Field(
        None,
        description="The encoder of documents where it is not the queries' own: the frozen side of ADORE's mining, or a dual encoder; "
        "none: `model` embeds both.",
    )
    teacher: TeacherSettings | None = Field(None, description="The cross-encoder that scores candidates; none: no scores.")
    fixed_encoder: ModelSettings | None = Field(
        None, description="An encoder that no round trains, for the rule near_duplicate_cosine; none: that feature is empty."
    )
    retrieve: RetrieveSettings = Field(RetrieveSettings(), description="Sources of candidates and their depth.")
    recipe: str | dict[str, Any] = Field("hardmine", description="A recipe's name, its settings, or a YAML file beside run.yaml.")
    recipes: tuple[str | dict[str, Any], ...] = Field(
        (), description="More recipes that the round must be deep enough for; each is selected too."
    )
    num_negatives: int = Field(5, ge=1, description="Negatives a query.")
    formats: tuple[Format, ...] = Field(("triplet",), min_length=1, description="Training formats to write.")
    output_scores: bool = Field(False, description="Scores in sentence-transformers' formats.")
    score: str = Field(
        "auto", pattern=r"^[a-z][a-z0-9_]*$", description="Score column in training files; auto: the teacher's logit, else dense_score."
    )
    flagembedding: FlagEmbeddingSettings = Field(FlagEmbeddingSettings(), description="What format flagembedding says beside the texts.")
    rows_per_shard: int = Field(100_000, ge=1, description="Most rows in one file.")
    cluster: str = Field("local", pattern=r"^(local|(tcp|tls|ws|wss)://.+)$", description="local, or a Dask scheduler's address.")
    workers: int | None = Field(None, ge=1, description="Processes of the local cluster; by default one for eight cores and 4 GiB.")
    worker_patience: int = Field(
        WORKER_PATIENCE,
        ge=1,
        description="Seconds to wait for a worker where the scheduler of `cluster` has none: at the start, and when all have gone.",
    )
    query_chunks: int = Field(
        1, ge=1, le=1000, description="Mine one of so many parts of the queries, by hash of their ids (ANCE's chunk factor); 1: all."
    )
    query_chunk: int = Field(0, ge=0, description="Which part, from 0; a later round takes the next.")
    truncate: bool = Field(False, description="Keep the depths given here even where a recipe needs more; recorded with the round.")
    planted: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Share of the positives, of queries with two or more, hidden as probes: which recipe lets relevant ones through?",
    )
    seed: int = Field(0, ge=0, description="Of all that is drawn at random.")
    rounds: int = Field(1, ge=1, le=1000, description="Rounds of mine, train, measure; one alone trains only if `train` is set.")
    train: TrainSettings | None = Field(
        None, description="How each round's checkpoint is trained; none: by default, and a single round not."
    )
    evaluate: EvaluateSettings = Field(
        EvaluateSettings(), description="How checkpoints are compared: the best by the first measure is kept."
    )
    stop: StopSettings = Field(StopSettings(), description="When several rounds end early.")
    staleness: StalenessSettings = Field(StalenessSettings(), description="How earlier rounds' negatives are looked at.")
    truth: TruthSettings = Field(TruthSettings(), description="How false negatives are measured.")
    judge: JudgeSettings | None = Field(
        None, description="Language models that judge the published recipe's negatives (RLHN); none: nobody does."
    )

    @property
    def trains(self) -> bool:
        """Whether a run trains: several rounds, or one with ``train``."""
        return self.rounds > 1 or self.train is not None

    def with_checkpoint(self, path: str, rounds: int) -> MineSettings:
        """A later round's own settings: the checkpoint, and the next chunk of the queries.

        Args:
            path: of the checkpoint.
            rounds: mined before it.
        """
        model = self.model.model_copy(update={"path": path, "revision": None, "adapter": None, "adapter_revision": None})
        return self.model_copy(update={"model": model}).with_chunk(rounds)

    def with_chunk(self, rounds: int) -> MineSettings:
        """The same settings and the chunk of the queries that is so many rounds on."""
        return self.model_copy(update={"query_chunk": (self.query_chunk + rounds) % self.query_chunks})

    @property
    def document_encoder(self) -> ModelSettings:
        """What embeds documents."""
        return self.document_model or self.model

    @property
    def remote_endpoints(self) -> tuple[RemoteSettings, ...]:
        """The endpoints of models that are not loaded here."""
        models = (self.model, self.document_model, self.teacher, self.fixed_encoder)
        return tuple(model.remote for model in models if model is not None and model.remote is not None)

    @property
    def chunk(self) -> Fold | None:
        """The queries that are mined; none: all."""
        return Fold(self.query_chunk, self.query_chunks) if self.query_chunks > 1 else None

    @field_validator("teacher", mode="before")
    @classmethod
    def _none_by_name(cls, value: Any) -> Any:
        return None if value == "none" else value

    @model_validator(mode="after")
    def _chunk_is_there(self) -> Self:
        if self.query_chunk >= self.query_chunks:
            raise ValueError(f"query_chunk is {self.query_chunk}, and there are {self.query_chunks} (query_chunks), counted from 0")
        if self.teacher is not None and self.teacher.lazy and self.score == "teacher_calibrated":
            raise ValueError("score: teacher_calibrated is fitted on the scores of all candidates, and teacher.lazy leaves some out")
        if self.train is not None and self.train.earlier and self.query_chunks > 1:
            raise ValueError(
                "train.earlier takes rows of the same queries, and rounds of different chunks have none in common: set one of both"
            )
        if self.trains and self.model.remote is not None:
            raise ValueError("model: one that is behind an endpoint (remote) cannot be trained: leave out rounds and train")
        return self

    def resolved(self, base: Path) -> MineSettings:
        """The same settings with relative paths taken from the folder of the run.yaml."""
        further = tuple(source.resolved(base) for source in self.retrieve.further)
        update: dict[str, Any] = {
            "dataset": self.dataset.resolved(base),
            "truth": self.truth.resolved(base),
            "retrieve": self.retrieve.model_copy(update={"further": further}),
        }
        if self.judge is not None and self.judge.prompt.endswith(".txt"):
            update["judge"] = self.judge.model_copy(update={"prompt": str(base / Path(self.judge.prompt).expanduser())})
        if "://" not in self.root:
            update["root"] = str((base / Path(self.root).expanduser()).resolve())
        return self.model_copy(update=update)._with_models(lambda path: model_path(base, path))

    def under(self, storage: Storage) -> MineSettings:
        """The same settings with models that lie in the root by names that hold wherever it is mounted."""
        return self._with_models(lambda path: as_reference(storage, path))

    def _with_models(self, change: Callable[[str], str]) -> MineSettings:
        """The same settings with each model's path changed."""
        update: dict[str, Any] = {}
        for name in ("model", "document_model", "fixed_encoder"):
            update |= _moved(self, name, change)
        further = tuple(with_moved_models(source, change) for source in self.retrieve.further)
        update["retrieve"] = self.retrieve.model_copy(update={"further": further})
        if self.teacher is not None:
            given: dict[str, Any] = _paths(self.teacher, change)
            if self.teacher.train is not None:
                given["train"] = self.teacher.train.model_copy(update={"body": change(self.teacher.train.body)})
            given["ensemble"] = tuple(one.model_copy(update=_paths(one, change)) for one in self.teacher.ensemble)
            update["teacher"] = self.teacher.model_copy(update=given)
        return self.model_copy(update=update)


def with_moved_models(source: FurtherSource, change: Callable[[str], str]) -> FurtherSource:
    """A source of candidates with its models' paths changed."""
    return source.model_copy(update={**_moved(source, "model", change), **_moved(source, "document_model", change)})


def _moved(settings: Settings, name: str, change: Callable[[str], str]) -> dict[str, ModelSettings]:
    """A model of some settings with its path changed, by its name; nothing where there is none."""
    model: ModelSettings | None = getattr(settings, name)
    return {} if model is None else {name: model.model_copy(update=_paths(model, change))}


def _paths(model: Settings, change: Callable[[str], str]) -> dict[str, str]:
    """A model's path, and its adapter's, changed."""
    return {name: change(getattr(model, name)) for name in ("path", "adapter") if getattr(model, name) is not None}


def model_path(base: Path, path: str) -> str:
    """A folder beside run.yaml as an absolute path; hub ids and packaged models as they are."""
    local = base / Path(path).expanduser()
    return str(local.resolve()) if local.is_dir() or path.startswith((".", "~", "/")) else path
