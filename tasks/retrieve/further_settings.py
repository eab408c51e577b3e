"""A further source of candidates: what a team already has, by name, beside the searches of the run itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from tasks.file_patterns import Names, absolute
from tasks.models.settings import ModelSettings
from tasks.settings import Settings

Kind = Literal["run", "table", "triplets", "rounds", "vectors", "encoder"]
FROM_FILES: tuple[Kind, ...] = ("run", "table", "triplets")
GIVEN: tuple[Kind, ...] = (*FROM_FILES, "rounds")  # their candidates are there already; the others are searched
ALL = 2**31 - 1  # the depth of a source of which everything is taken

_RESERVED = frozenset({"dense", "bm25", "random", "teacher", "fixed", "survivor", "positive", "own"})
_PREFIXES = ("positive_", "own_", "teacher_", "u_")
_SEARCHED_DEPTH = 100
_SETTINGS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "run": (frozenset({"files"}), frozenset({"unknown"})),
    "table": (frozenset({"files"}), frozenset({"unknown", "columns"})),
    "triplets": (frozenset({"files"}), frozenset({"unknown", "columns"})),
    "rounds": (frozenset(), frozenset({"rounds"})),
    "vectors": (frozenset({"documents", "queries"}), frozenset({"document_ids", "query_ids", "similarity", "columns"})),
    "encoder": (frozenset({"model"}), frozenset({"document_model"})),
}
_OWN = frozenset().union(*(needed | allowed for needed, allowed in _SETTINGS.values()))
_PATHS = ("files", "documents", "document_ids", "queries", "query_ids")


class SourceColumns(Settings):
    """Names of the columns (or JSON keys) of a further source's files; empty: the usual names are tried."""

    query_id: str = Field("", description="query id; in triplets instead of the anchor's text")
    doc_id: str = Field("", description="document id")
    score: str = Field("", description="score, higher is better; none: ranks alone")
    rank: str = Field("", description="rank from 1, for a table without scores")
    anchor: str = Field("", description="text of a query, in triplets")
    negative: str = Field("", description="text of a negative, or a list of them; by default also negative_1, negative_2 …")
    negative_id: str = Field("", description="id of a negative, or a list of them, instead of its text")
    vector: str = Field("", description="the vector, in Parquet files of vectors")


class FurtherSource(Settings):
    """A named source: ``<name>_rank`` and ``<name>_score`` become columns of the candidates. Which settings count depends on the kind."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", description="Of the source, and of its two columns.", json_schema_extra={"position": 0})
    kind: Kind = Field(
        description="run: TREC run files (SPLADE, ColBERT, any retriever); table: scores by query and document id; triplets: negatives "
        "that are there already; rounds: negatives of earlier rounds; vectors: precomputed ones, searched; encoder: another dense model.",
        json_schema_extra={"position": 1},
    )
    files: Names = Field((), description="run, table, triplets: paths or globs; .gz, and for tables .jsonl, .csv, .tsv or .parquet.")
    top_k: int | None = Field(
        None, ge=1, description="Documents of each query that are taken; empty: all that are there, 100 for vectors and encoder."
    )
    unknown: Literal["error", "skip"] = Field(
        "error",
        description="What ids (or texts of triplets) mean that the dataset has not: an error, or rows that are skipped and counted.",
    )
    columns: SourceColumns = Field(SourceColumns(), description="Names of columns in the files.")
    rounds: tuple[int, ...] = Field((), description="rounds: their numbers; empty: all so far that another checkpoint has mined.")
    documents: Names = Field((), description="vectors: of the documents, .npy (float, a row each) or .parquet (an id and a vector a row).")
    document_ids: str = Field(
        "", description="vectors: text file with the documents' ids, one a line, in the order of the .npy files' rows."
    )
    queries: Names = Field((), description="vectors: of the queries, likewise.")
    query_ids: str = Field("", description="vectors: the queries' ids, likewise.")
    similarity: Literal["cosine", "dot"] = Field(
        "cosine", description="vectors: how they compare; for cosine they are brought to length 1."
    )
    model: ModelSettings | None = Field(None, description="encoder: the model.")
    document_model: ModelSettings | None = Field(None, description="encoder: the documents' own, where it is another one.")

    @field_validator("name")
    @classmethod
    def _free_name(cls, name: str) -> str:
        if name in _RESERVED or name.startswith(_PREFIXES):
            raise ValueError(f"{name!r} names columns of Hardmine's own; choose another name")
        return name

    @field_validator("rounds", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return (value,) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _fits_kind(self) -> Self:
        needed, allowed = _SETTINGS[self.kind]
        missing = sorted(name for name in needed if not getattr(self, name))
        if missing:
            raise ValueError(f"{missing[0]}: kind {self.kind} needs it")
        given = {name for name in self.model_fields_set & _OWN if getattr(self, name) != type(self).model_fields[name].default}
        unused = sorted(given - needed - allowed)
        if unused:
            raise ValueError(f"{unused[0]}: kind {self.kind} does not use it; remove it")
        return self

    @property
    def is_given(self) -> bool:
        """Whether its candidates are there already; else vectors are searched."""
        return self.kind in GIVEN

    @property
    def depth(self) -> int:
        """Its deepest rank; :data:`ALL`: whatever there is."""
        return self.top_k or (ALL if self.is_given else _SEARCHED_DEPTH)

    def deepened(self, depth: int) -> FurtherSource:
        """The same to a rank at least; what is given as a whole stays so."""
        return self if depth <= self.depth else self.model_copy(update={"top_k": depth})

    def resolved(self, base: Path) -> FurtherSource:
        """The same with every relative path taken from ``base``."""
        update: dict[str, Any] = {}
        for name in _PATHS:
            value = getattr(self, name)
            if value:
                update[name] = absolute(base, value) if isinstance(value, str) else tuple(absolute(base, one) for one in value)
        return self.model_copy(update=update)
