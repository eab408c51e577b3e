"""What a person fills in to run a flow: few fields, in the order of asking, with bounds and choices. Everything else goes as YAML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, WithJsonSchema

from flows.settings import WORKER_PATIENCE
from flows.settings import Format as TrainingFormat
from tasks.corpus.settings import Format as SourceFormat
from tasks.errors import UsageError
from tasks.models.settings import PACKAGED
from tasks.select.registry import recipe_names
from tasks.settings import Settings

Recipe = Annotated[str, WithJsonSchema({"type": "string", "enum": recipe_names()})]


class Place(Settings):
    """Where a run keeps everything, and where it computes."""

    root: str = Field(
        "",
        description="A folder on the machine that runs it, or s3://bucket/prefix. Empty: HARDMINE_ROOT there, else ./mining.",
        json_schema_extra={"position": 0},
    )
    cluster: str = Field(
        "",
        pattern=r"^(|local|(tcp|tls|ws|wss)://.+)$",
        description="local, or the address of a Dask scheduler (tcp://host:8786). Empty: HARDMINE_CLUSTER where it runs, else local.",
        json_schema_extra={"position": 1},
    )
    workers: int = Field(
        0, ge=0, le=1024, description="Processes of a local cluster; 0: by cores and memory.", json_schema_extra={"position": 2}
    )
    worker_patience: int = Field(
        WORKER_PATIENCE,
        ge=1,
        le=86_400,
        description="Seconds to wait for a worker where the scheduler has none; then the run fails, and keeps what is finished.",
        json_schema_extra={"position": 3},
    )


class Source(Settings):
    """The dataset."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_-]+$", description="Name under which its rounds are kept, as in cranfield.", json_schema_extra={"position": 0}
    )
    format: SourceFormat = Field("beir", description="What its files are.", json_schema_extra={"position": 1})
    path: str = Field("", description="beir, huggingface: the folder.", json_schema_extra={"position": 2})
    corpus: str = Field("", description="jsonl, parquet, csv: the document files, a path or glob.", json_schema_extra={"position": 3})
    queries: str = Field("", description="jsonl, parquet, csv: the query files.", json_schema_extra={"position": 4})
    qrels: str = Field("", description="jsonl, parquet, csv: the judgements.", json_schema_extra={"position": 5})
    pairs: str = Field("", description="pairs: files of (query, relevant document).", json_schema_extra={"position": 6})
    packages: str = Field(
        "", description="docstrings: Python packages, with blanks between, as in numpy pandas.", json_schema_extra={"position": 7}
    )

    def values(self) -> dict[str, Any]:
        """As ``dataset`` in run.yaml: only what is filled in."""
        given = {name: value.strip() for name, value in self.model_dump().items() if value.strip()}
        return given | ({"packages": given["packages"].split()} if "packages" in given else {})


class Models(Settings):
    """The retriever whose negatives are mined, and the teacher that judges them."""

    retriever: str = Field(
        PACKAGED, min_length=1, description="A folder, a hub id, or the packaged model.", json_schema_extra={"position": 0}
    )
    max_length: int = Field(256, ge=8, le=131_072, description="Tokens that the retriever reads.", json_schema_extra={"position": 1})
    teacher: Literal["none", "trained in the run", "given below"] = Field(
        "none",
        description="The cross-encoder that says which candidates are relevant. hardmine and rocketqa need one.",
        json_schema_extra={"position": 2},
    )
    teacher_path: str = Field("", description="The cross-encoder's folder or hub id, where it is given.", json_schema_extra={"position": 3})
    teacher_depth: int = Field(50, ge=1, le=1000, description="Candidates a query that it scores.", json_schema_extra={"position": 4})

    def values(self) -> dict[str, Any]:
        """As ``model`` and ``teacher`` in run.yaml."""
        values: dict[str, Any] = {"model": {"path": self.retriever, "max_length": self.max_length}}
        if self.teacher == "trained in the run":
            values["teacher"] = {"train": {}, "depth": self.teacher_depth}
        elif self.teacher == "given below":
            values["teacher"] = {"path": self.teacher_path or None, "depth": self.teacher_depth}
        return values


class Choice(Settings):
    """Which candidates become negatives, and how they are written."""

    recipe: Recipe = Field("nv-retriever", description="The rule by which negatives are chosen.", json_schema_extra={"position": 0})
    beside: list[Recipe] = Field(
        default=[], description="More recipes to select by, for comparison.", json_schema_extra={"position": 1, "uniqueItems": True}
    )
    num_negatives: int = Field(5, ge=1, le=1000, description="Negatives a query.", json_schema_extra={"position": 2})
    formats: list[TrainingFormat] = Field(
        default=["triplet"], min_length=1, description="Training files to write.", json_schema_extra={"position": 3, "uniqueItems": True}
    )

    def values(self) -> dict[str, Any]:
        """As in run.yaml."""
        return {"recipe": self.recipe, "recipes": self.beside, "num_negatives": self.num_negatives, "formats": self.formats}


class Publishing(Settings):
    """What happens with a round that is ready."""

    ask_above: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Ask here before publishing if the estimated share of false negatives is over this; 1: never ask.",
        json_schema_extra={"position": 0},
    )
    wait_hours: int = Field(
        72, ge=1, le=720, description="How long the question stands; then the run fails.", json_schema_extra={"position": 1}
    )
    report: bool = Field(True, description="Write the HTML report.", json_schema_extra={"position": 2})


def further_values(text: str) -> dict[str, Any]:
    """The field of further settings.

    Raises:
        UsageError: not YAML, or no mapping.
    """
    try:
        found = yaml.safe_load(text) if text.strip() else {}
    except yaml.YAMLError as error:
        raise UsageError(f"further: not valid YAML: {error}", "as in {num_negatives: 7, seed: 1}") from error
    if not isinstance(found, dict):
        raise UsageError("further: settings must be a mapping of names to values", "as in {num_negatives: 7, seed: 1}")
    return found


def merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with others over them, mapping by mapping.

    >>> merged({"model": {"path": "a", "dtype": "auto"}, "seed": 0}, {"model": {"dtype": "float32"}})
    {'model': {'path': 'a', 'dtype': 'float32'}, 'seed': 0}
    """
    found = dict(values)
    for name, value in over.items():
        inner = found.get(name)
        found[name] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return found
