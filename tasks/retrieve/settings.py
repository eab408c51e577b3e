"""What is retrieved, and how: the ``retrieve`` part of a run's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, model_validator

from tasks.retrieve.further_settings import FurtherSource
from tasks.retrieve.languages import Languages
from tasks.settings import Settings


class DenseSettings(Settings):
    """Search by the retriever's vectors: inner product, on normalised vectors for cosine models."""

    top_k: int = Field(100, ge=1, description="documents retrieved for each query")
    index: Literal["auto", "flat", "ivf"] = Field(
        "auto", description="flat is exact; ivf searches nprobe of nlist clusters; auto: by the corpus' size"
    )
    auto_ivf_rows: int = Field(1_000_000, ge=1, description="index: auto takes ivf from so many documents on; on a GPU never")
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where the flat index is searched; auto: on the GPU, where there is one that torch can use"
    )
    nlist: int | Literal["auto"] = Field("auto", description="clusters of an ivf index; auto: about 4 * sqrt(rows of a partition)")
    nprobe: int = Field(16, ge=1, description="clusters that are searched at first; doubled until recall_floor holds")
    codes: Literal["float32", "sq8"] = Field(
        "float32", description="what an ivf index keeps of each vector; sq8 takes a quarter of the memory"
    )
    recall_floor: float = Field(0.95, ge=0, le=1, description="least recall@top_k of an ivf index against exact search on a sample")
    recall_sample: int = Field(200, ge=1, description="queries on which an ivf index's recall is measured")


class Bm25Settings(Settings):
    """Search by words."""

    top_k: int = Field(50, ge=1, description="documents retrieved for each query")
    k1: float = Field(1.5, ge=0, description="saturation of term frequency")
    b: float = Field(0.75, ge=0, le=1, description="weight of the document's length")
    delta: float = Field(0.5, ge=0, description="floor of a matching term's weight; for bm25l and bm25+ only")
    method: Literal["lucene", "robertson", "atire", "bm25l", "bm25+"] = Field(
        "lucene", description="variant of the formula, as bm25s names them"
    )
    stopwords: Literal[
        "none", "english", "german", "dutch", "french", "spanish", "portuguese", "italian", "russian", "swedish", "norwegian"
    ] = Field("english", description="whose stop words are left out")
    stemmer: Literal["none", "plural"] = Field("none", description="plural: English plurals are cut (Harman's S stemmer)")


class RandomSettings(Settings):
    """Documents drawn at random for each query, by a hash of seed and query id."""

    count: int = Field(10, ge=1, le=1000, description="documents drawn for each query")


class RetrieveSettings(Settings):
    """The sources of candidates, in the order of their columns."""

    dense: DenseSettings = Field(DenseSettings(), description="search by the retriever's vectors")
    bm25: Bm25Settings | None = Field(Bm25Settings(), description="search by words; null: off")
    random: RandomSettings | None = Field(None, description="random documents; null: off")
    languages: Languages = Field(
        "any",
        description="of each query's candidates: same as its own, cross (another), or a list of codes; same and cross let texts without a "
        "language pass",
    )
    further: tuple[FurtherSource, ...] = Field(
        (), description="sources besides: runs and score tables of other retrievers, vectors, triplets, earlier rounds, other dense models"
    )

    @model_validator(mode="after")
    def _names_differ(self) -> RetrieveSettings:
        names = [source.name for source in self.further]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"further: two sources are named {twice[0]!r}; name one of them differently")
        return self

    @property
    def sources(self) -> list[str]:
        """Names of the sources that are on, in the order of their columns in the candidate table."""
        own = ["dense", *(["bm25"] if self.bm25 else []), *(["random"] if self.random else [])]
        return [*own, *(source.name for source in self.further)]

    @property
    def depths(self) -> dict[str, int]:
        """By source, how deep it goes."""
        found = {"dense": self.dense.top_k}
        if self.bm25:
            found["bm25"] = self.bm25.top_k
        if self.random:
            found["random"] = self.random.count
        return found | {source.name: source.depth for source in self.further}

    def deepened(self, needs: Mapping[str, int]) -> RetrieveSettings:
        """The same, each source at least as deep as ``needs`` has it; BM25 and random documents are switched on where they are needed."""
        bm25, random = self.bm25, self.random
        if "bm25" in needs:
            bm25 = (bm25 or Bm25Settings()).model_copy(update={"top_k": max(needs["bm25"], bm25.top_k if bm25 else 0)})
        if "random" in needs:
            random = RandomSettings(count=max(needs["random"], random.count if random else 0))
        dense = self.dense.model_copy(update={"top_k": max(self.dense.top_k, needs.get("dense", 0))})
        further = tuple(source.deepened(needs.get(source.name, 0)) for source in self.further)
        return RetrieveSettings(dense=dense, bm25=bm25, random=random, languages=self.languages, further=further)
