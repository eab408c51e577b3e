"""run.yaml: the settings of one mining round, which are also the Prefect flow's parameter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from tasks.corpus.settings import DatasetSettings
from tasks.models.settings import ModelSettings, TeacherSettings
from tasks.retrieve.settings import RetrieveSettings
from tasks.settings import Settings

Format = Literal["triplet", "n-tuple", "labeled-pair", "labeled-list", "flagembedding", "tevatron", "listwise"]


class MineSettings(Settings):
    """One mining round."""

    root: str = Field("./mining", description="Where everything is kept: a folder, or s3://bucket/prefix.")
    dataset: DatasetSettings = Field(description="The corpus, its queries and labels.")
    model: ModelSettings = Field(ModelSettings(path="packaged"), description="The retriever.")
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
    rows_per_shard: int = Field(100_000, ge=1, description="Most rows in one file.")
    cluster: str = Field("local", pattern=r"^(local|(tcp|tls|ws|wss)://.+)$", description="local, or a Dask scheduler's address.")
    workers: int | None = Field(None, ge=1, description="Processes of the local cluster; by default one for every eight cores.")
    truncate: bool = Field(False, description="Keep the depths given here even where a recipe needs more; recorded with the round.")
    planted: float = Field(
        0.1,
        ge=0,
        le=0.5,
        description="Share of the positives, of queries with two or more, hidden as probes: which recipe lets relevant ones through?",
    )
    seed: int = Field(0, ge=0, description="Of all that is drawn at random.")

    @field_validator("teacher", mode="before")
    @classmethod
    def _none_by_name(cls, value: Any) -> Any:
        return None if value == "none" else value

    def resolved(self, base: Path) -> MineSettings:
        """The same settings with relative paths taken from the folder of the run.yaml."""
        update: dict[str, Any] = {"dataset": self.dataset.resolved(base)}
        if "://" not in self.root:
            update["root"] = str((base / Path(self.root).expanduser()).resolve())
        update["model"] = self.model.model_copy(update={"path": _model_path(base, self.model.path)})
        if self.fixed_encoder is not None:
            update["fixed_encoder"] = self.fixed_encoder.model_copy(update={"path": _model_path(base, self.fixed_encoder.path)})
        if self.teacher is not None and self.teacher.path is not None:
            update["teacher"] = self.teacher.model_copy(update={"path": _model_path(base, self.teacher.path)})
        elif self.teacher is not None and self.teacher.train is not None:
            train = self.teacher.train.model_copy(update={"body": _model_path(base, self.teacher.train.body)})
            update["teacher"] = self.teacher.model_copy(update={"train": train})
        return self.model_copy(update=update)


def _model_path(base: Path, path: str) -> str:
    """A folder beside run.yaml as an absolute path; hub ids and packaged models as they are."""
    local = base / Path(path).expanduser()
    return str(local.resolve()) if local.is_dir() or path.startswith((".", "~", "/")) else path
