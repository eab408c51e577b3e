"""A sentence-transformers bi-encoder: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.models.fingerprint import ModelSpec
from tasks.models.runtime import Report, loaded, outputs


@dataclass(frozen=True)
class Embeddings:
    """What :meth:`Embedder.encode` gives.

    Args:
        vectors: float32, shape (n, dim); of length 1 for cosine models.
        tokens: in all inputs together, after truncation.
        truncated: inputs that lost tokens.
    """

    vectors: NDArray[np.float32]
    tokens: int
    truncated: int


class Embedder:
    """A loaded bi-encoder. A vector depends on its own text alone, whatever else is encoded with it.

    Args:
        spec: what to load; its prompt and length are applied to every text.

    Raises:
        ModelError: the model cannot be loaded or compares vectors neither by cosine nor by dot product.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.spec = spec
        self._model = loaded("embedder", spec, _make)
        own = self._model.similarity_fn_name or "cosine"
        self.similarity = str(own if spec.similarity == "auto" else spec.similarity)
        if self.similarity not in {"cosine", "dot"}:
            raise ModelError(f"model {spec.path} compares vectors by {self.similarity}", "set similarity: cosine or dot")
        self._width = int(self._model.get_embedding_dimension())
        self.dim = min(self._width, spec.truncate_dim or self._width)

    def encode(self, texts: Sequence[str], report: Report = lambda _: None) -> Embeddings:
        """Vectors of texts.

        Args:
            texts: n inputs, the template applied already.
            report: told of texts as they get done, a batch at a time.

        Raises:
            ModelError: a vector is not finite, or zero where it must have a direction.
        """
        if len(texts) == 0:
            return Embeddings(np.empty((0, self.dim), dtype=np.float32), 0, 0)
        output, lengths, truncated = outputs(self._model, texts, self.spec, self._forward, self._width, report)
        vectors = finish(output[:, : self.dim], self.similarity, self.spec.path)
        return Embeddings(vectors, int(lengths.sum()), truncated)

    def _forward(self, features: dict[str, Any]) -> Any:
        return self._model(features)["sentence_embedding"]


def finish(output: NDArray[np.float32], similarity: str, name: str) -> NDArray[np.float32]:
    """Check a model's output, and bring it to length 1 for cosine.

    Args:
        output: float32, shape (n, dim).
        similarity: ``cosine`` or ``dot``.
        name: of the model, for errors.

    Raises:
        ModelError: as :meth:`Embedder.encode`.
    """
    norms = np.sqrt(np.einsum("ij,ij->i", output, output, dtype=np.float64))
    bad = ~np.isfinite(norms) | (norms == 0)
    if bad.any():
        raise ModelError(
            f"model {name} gives {int(bad.sum())} of {len(bad)} vectors that are zero or not finite",
            "set dtype: float32; if that does not help, the weights are damaged",
        )
    if similarity == "dot":
        return np.ascontiguousarray(output)
    return np.ascontiguousarray(output / norms[:, None], dtype=np.float32)


def import_libraries() -> None:
    """Import what loads a model, which takes seconds the first time."""
    from sentence_transformers import SentenceTransformer  # noqa: F401


def _make(folder: str, arguments: dict[str, Any]) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(folder, **arguments)
