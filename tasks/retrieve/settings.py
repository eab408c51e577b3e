"""What is retrieved, and how: the ``retrieve`` part of a run's settings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

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

    @property
    def sources(self) -> list[str]:
        """Names of the sources that are on, in the order of their columns in the candidate table."""
        return ["dense", *(["bm25"] if self.bm25 else []), *(["random"] if self.random else [])]
