"""Settings of a dataset: where its documents, queries and judgements are, and how they are read."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.corpus.chunk_settings import ChunkSettings
from tasks.file_patterns import Names, absolute
from tasks.settings import Settings

Format = Literal["beir", "jsonl", "parquet", "csv", "pairs", "huggingface", "mteb", "ir_datasets", "docstrings"]
SPLITS = ("train", "calibration", "dev", "test")
TRAIN = SPLITS[0]
_MEASURING = frozenset({*SPLITS[1:], "eval", "evaluation", "val", "valid", "validation", "heldout", "held-out", "held_out"})
PATH_FIELDS = ("path", "corpus", "queries", "qrels", "pairs")

#: by format: the fields that it needs, and those that it may have
_FIELDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "beir": (frozenset({"path"}), frozenset({"split", "max_queries"})),
    "jsonl": (frozenset({"corpus", "queries"}), frozenset({"qrels", "columns", "split", "max_queries"})),
    "parquet": (frozenset({"corpus", "queries"}), frozenset({"qrels", "columns", "split", "max_queries"})),
    "csv": (frozenset({"corpus", "queries"}), frozenset({"qrels", "columns", "split", "delimiter", "max_queries"})),
    "pairs": (frozenset({"pairs"}), frozenset({"corpus", "columns", "split", "delimiter", "max_queries"})),
    "huggingface": (frozenset({"path"}), frozenset({"columns", "split", "max_queries", "revision"})),
    "mteb": (frozenset({"path"}), frozenset({"columns", "split", "max_queries", "revision"})),
    "ir_datasets": (frozenset({"path"}), frozenset({"columns", "max_queries"})),
    "docstrings": (frozenset({"packages"}), frozenset({"max_documents", "max_queries"})),
}
_PARTICULAR = frozenset().union(*(needed | allowed for needed, allowed in _FIELDS.values()))
_EXAMPLES = {
    "path": "path: data/cranfield",
    "corpus": "corpus: docs/*.jsonl",
    "queries": "queries: queries.jsonl",
    "pairs": "pairs: [train.jsonl]",
    "packages": "packages: [pandas, sklearn]",
}


class Columns(Settings):
    """Names of the columns (or JSON keys) in the user's files; empty: the usual names are tried."""

    doc_id: str = Field(default="", description="document id, in corpus and qrels")
    title: str = Field(default="", description="title of a document")
    text: str = Field(default="", description="text of a document")
    group_id: str = Field(default="", description="parent document")
    language: str = Field(default="", description="language of a document, a code of your own choice")
    query_id: str = Field(default="", description="query id, in queries and qrels")
    query: str = Field(default="", description="text of a query")
    answers: str = Field(default="", description="short answers to a query, a string or a list")
    query_group: str = Field(default="", description="group of duplicate or paraphrased queries")
    query_split: str = Field(default="", description="split that a query belongs to")
    query_language: str = Field(default="", description="language of a query, a code of the same kind")
    positive_ids: str = Field(default="", description="ids of a query's relevant documents, in the queries file, instead of qrels")
    relevance: str = Field(default="", description="grade, in qrels")
    anchor: str = Field(default="", description="text of a query, in pairs")
    positive: str = Field(default="", description="text of its relevant document (or a list of them), in pairs")


class Splits(Settings):
    """Shares of the query groups; they add up to 1. A split that the source names for a query stands.

    Keep the seed over rounds and over repeated trainings: with another one a test query becomes a training query.
    """

    train: float = Field(1.0, ge=0, le=1, description="Share that teachers and retrievers are trained on.")
    calibration: float = Field(0.0, ge=0, le=1, description="Share that scores are calibrated on.")
    dev: float = Field(0.0, ge=0, le=1, description="Share that checkpoints are chosen by.")
    test: float = Field(0.0, ge=0, le=1, description="Share that is read once, at the end.")
    seed: int = Field(0, ge=0, description="Of the draw.")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        total = sum(self.shares)
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the shares add up to {total:g}, not to 1; give all that are not 0, train too")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """In the order of :data:`SPLITS`."""
        return self.train, self.calibration, self.dev, self.test


class DatasetSettings(Settings):
    """One dataset.

    Which of the fields are used depends on the format; one that is not used must not be set.
    """

    name: str = Field(description="name under which the dataset and its rounds are kept", json_schema_extra={"position": 0})
    format: Format = Field(description="kind of source", json_schema_extra={"position": 1})
    path: str = Field(
        default="",
        description="folder of a BEIR collection or a saved Hugging Face dataset; or a name (hub, MTEB, ir_datasets)",
    )
    revision: str = Field(default="", description="branch, tag or commit of a hub dataset")
    split: str = Field(default="", description="qrels file (BEIR) or split; empty: the only one there is")
    corpus: Names = Field(default=(), description="document files, paths or globs")
    queries: Names = Field(default=(), description="query files, paths or globs")
    qrels: Names = Field(default=(), description="judgement files, paths or globs")
    pairs: Names = Field(default=(), description="files of (anchor, positive): .jsonl, .csv, .tsv (each also .gz) or .parquet")
    id_prefix: str = Field(default="", description="put before every document and query id, where two corpora have the same ones")
    columns: Columns = Field(default=Columns(), description="names of columns in the files")
    delimiter: str = Field(default="", description="between CSV fields; empty: a tab in .tsv files, a comma in others")
    packages: Names = Field(default=(), description="installed Python packages whose docstrings are read, top-level import names")
    max_documents: int = Field(default=0, ge=0, description="keep at most so many docstrings, chosen by hash; 0: all")
    max_queries: int = Field(
        default=0, ge=0, description="keep at most so many queries, of each split and language its share, chosen by hash; 0: all"
    )
    chunk: ChunkSettings | None = Field(default=None, description="long documents are cut into chunks; empty: they stay whole")
    cut_answers: Literal["set_aside", "keep"] = Field(
        default="set_aside",
        description="positives whose answer lies beyond what the retriever sees: neither positive nor negative, or kept",
    )
    positive_min_grade: int = Field(default=1, description="grades from here on are positive; lower ones neither positive nor negative")
    judged: Literal["none", "exhaustive", "trusted_zeros", "both"] = Field(
        default="none",
        description="what judgements say of other pairs than positives, for measuring; exhaustive: what is not listed is not relevant; "
        "trusted_zeros: what is listed with grade 0 is not; without that such a zero is unknown",
    )
    splits: Splits | None = Field(
        default=None, description="shares of the query groups that train, calibrate, choose and test; empty: all train"
    )
    near_duplicates: float | None = Field(
        default=0.8,
        ge=0.5,
        le=1,
        description="queries whose sets of words have this Jaccard index or a higher one are of one group; empty: only those that are "
        "equal but for case, punctuation and white space",
    )
    split_by: Literal["query", "parent"] = Field(
        default="query", description="parent: queries with positives of one parent document (group_id, else the document) are of one group"
    )
    max_rejected: float = Field(default=0.01, ge=0, le=1, description="share of unusable rows, in any role, over which the run stops")
    reviews: bool = Field(
        default=True, description="take what reviews say of pairs: relevant is a positive, not is a trusted zero, which may be a negative"
    )
    promoted: bool = Field(default=True, description="take promoted pairs that were not withdrawn as positives of queries that train")
    document_partitions: int | Literal["auto"] = Field(default="auto", description="document partitions, fixed for a dataset's name")
    query_partitions: int | Literal["auto"] = Field(default="auto", description="query partitions, fixed for a dataset's name")

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError("must consist of letters, digits, _ and - only; rename it")
        return name

    @field_validator("document_partitions", "query_partitions")
    @classmethod
    def _in_range(cls, count: int | str) -> int | str:
        if isinstance(count, int) and not 1 <= count <= 4096:
            raise ValueError("must be 'auto' or between 1 and 4096")
        return count

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str) -> str:
        if len(delimiter) > 1 or delimiter in ('"', "\n", "\r"):
            raise ValueError("must be one character, not a quote or line end, as in ';' or \"\\t\"")
        return delimiter

    @field_validator("packages")
    @classmethod
    def _top_level(cls, packages: tuple[str, ...]) -> tuple[str, ...]:
        for package in packages:
            if not package.isidentifier():
                raise ValueError(f"{package!r} is not a top-level import name; write it as in `import sklearn`")
        return tuple(sorted(set(packages)))

    @field_validator("id_prefix")
    @classmethod
    def _no_space(cls, prefix: str) -> str:
        if any(character.isspace() for character in prefix):
            raise ValueError("must not have white space: run files and qrels part their fields by it")
        return prefix

    @field_validator("split")
    @classmethod
    def _file_name(cls, split: str) -> str:
        if "/" in split or "\\" in split or split.startswith("."):
            raise ValueError("must be a plain name such as test, without folder or ending")
        return split

    @model_validator(mode="after")
    def _fits_format(self) -> Self:
        needed, allowed = _FIELDS[self.format]
        missing = sorted(name for name in needed if not getattr(self, name))
        if missing:
            raise ValueError(f"{missing[0]}: format {self.format} needs it, as in `{_EXAMPLES[missing[0]]}`")
        given = {name for name in self.model_fields_set if getattr(self, name) != type(self).model_fields[name].default}
        unused = sorted((given & _PARTICULAR) - needed - allowed)
        if unused:
            raise ValueError(f"{unused[0]}: format {self.format} does not use it ({_listing(needed | allowed)} are its fields); remove it")
        return self

    def _is_name(self, base: Path) -> bool:
        """Whether ``path`` is a name of a dataset, not a place."""
        named = self.format == "huggingface" and "/" in self.path and not self.path.startswith((".", "~", "/"))
        return self.format in ("mteb", "ir_datasets") or (named and not (base / self.path).exists())

    def resolved(self, base: Path) -> DatasetSettings:
        """The same with every relative path taken from ``base``; ``~`` is expanded, globs stay."""
        paths: dict[str, Any] = {}
        for name in PATH_FIELDS:
            value = getattr(self, name)
            if value and not (name == "path" and self._is_name(base)):
                paths[name] = absolute(base, value) if isinstance(value, str) else tuple(absolute(base, one) for one in value)
        if self.chunk is not None:
            paths["chunk"] = self.chunk.resolved(base)
        return self.model_copy(update=paths)


def _listing(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def named_split(name: str) -> str:
    """The split of queries that come from a file of that name: a name such as ``labelled`` says nothing of them.

    >>> named_split("train"), named_split("Test"), named_split("labelled")
    ('train', 'Test', '')
    """
    return name if name.lower() in _MEASURING | {TRAIN} else ""
