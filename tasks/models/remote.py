"""Embedders and rerankers behind an endpoint, with the same methods as the local ones.

What is served under a name can change without a word. So the root remembers, for each model and declared revision, the dimension, the
revision that the endpoint names, and the answer to one fixed text; whenever a partition is begun they are compared.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tasks.errors import ModelError
from tasks.models.cross_encoder import CrossEncoder, Scores, check_logits
from tasks.models.embedder import Embedder, Embeddings, finish
from tasks.models.fingerprint import ModelSpec
from tasks.models.materialise import spec_here
from tasks.models.runtime import Report
from tasks.remote.client import Client, Rejected
from tasks.remote.pace import Pace, Transient
from tasks.store.pointers import update_pointer
from tasks.store.storage import Storage

Result = TypeVar("Result")
PROBE = "the quick brown fox jumps over the lazy dog"
_OTHER_PROBE = "a fox is an animal"
_ALIKE = 0.999  # least cosine of the fixed text's vector, then and now: kernels and dtypes of one model differ less
_APART = 0.05  # most that the fixed pair's score may move, of its size


def open_embedder(storage: Storage, spec: ModelSpec) -> Embedder | RemoteEmbedder:
    """The embedder of a spec: loaded here, or behind its endpoint."""
    return RemoteEmbedder(storage, spec) if spec.remote is not None else Embedder(spec_here(storage, spec))


def open_cross_encoder(storage: Storage, spec: ModelSpec) -> CrossEncoder | RemoteReranker:
    """The teacher of a spec: loaded here, or behind its endpoint."""
    return RemoteReranker(storage, spec) if spec.remote is not None else CrossEncoder(spec_here(storage, spec))


class _Remote:
    """Requests side by side, each tried again where that may help."""

    def __init__(self, spec: ModelSpec) -> None:
        assert spec.remote is not None, "a local model has no endpoint"
        self.spec, self.remote = spec, spec.remote
        self._client, self._pace = Client(spec.remote), Pace(spec.remote)

    def _tried(self, once: Callable[[], Result], texts: Sequence[str]) -> Result:
        """One request, when it may be sent, tried again where that may help; ``texts``: that it sends."""

        def turn() -> Result:
            self._pace.turn(_tokens(texts))
            return once()

        try:
            return self._pace.tries(turn)
        except (Transient, Rejected) as failure:
            raise ModelError(
                f"model {self.spec.path} at {self.remote.url}: {failure}",
                "see what its server says, then run again: what is committed is kept, and nothing of it is asked again",
            ) from failure

    def _side_by_side(self, work: Sequence[tuple[Callable[[], Result], Sequence[str]]]) -> Iterator[Result]:
        """Results of requests with the texts that they send, in order; after a failure no further one is sent."""
        with ThreadPoolExecutor(max(1, min(self.remote.concurrency, len(work)))) as threads:
            futures = [threads.submit(self._tried, once, texts) for once, texts in work]
            try:
                for future in futures:
                    yield future.result()
            except BaseException:
                self._pace.stop()
                for future in futures:
                    future.cancel()
                raise

    def _served(self, named: str = "") -> str:
        """What the endpoint says that it serves.

        Raises:
            ModelError: it names another revision than the declared one.
        """
        if self.remote.api != "tei":
            return named
        try:
            info = self._pace.tries(lambda: self._client.get("/info"))
        except (ModelError, Rejected, Transient):  # not all servers of this API have it
            return ""
        told = info if isinstance(info, dict) else {}
        revision = str(told.get("model_sha") or "")
        if revision and self.remote.revision and revision != self.remote.revision:
            raise ModelError(
                f"model {self.spec.path}: {self.remote.url} serves revision {revision}, and {self.remote.revision} is declared",
                "declare the revision that is served (remote.revision): it is another model then, and nothing is mixed",
            )
        return "@".join(str(told.get(name) or "") for name in ("model_id", "model_sha"))

    def _remembered(self, storage: Storage, found: dict[str, Any]) -> dict[str, Any]:
        """What the root knows of this model; what was found, if it knows nothing.

        Raises:
            ModelError: the endpoint names another model or revision by now.
        """
        name = f"remote/{self.spec.fingerprint}"

        def learnt(present: dict[str, Any] | None) -> dict[str, Any] | None:
            if present is None:
                return found
            return {**present, "served": found["served"]} if found["served"] and not present["served"] else None  # /info failed then

        known = update_pointer(storage, name, learnt) or found
        if known["served"] and found["served"] and known["served"] != found["served"]:
            raise self._changed(f"the endpoint serves {found['served']}, and {known['served']} before")
        return known

    def _changed(self, what: str) -> ModelError:
        return ModelError(
            f"model {self.spec.path} at {self.remote.url} is not what it was: {what}",
            "give the new one a revision of its own (remote.revision): what it says is then kept apart from what is known",
        )


class RemoteEmbedder(_Remote):
    """An embedder behind ``/embeddings`` (OpenAI's form) or ``/embed`` (text-embeddings-inference's).

    Args:
        storage: the root, which remembers what is served.
        spec: with ``remote``; its prompt is put before every text here. Texts that are too long are cut off there.

    Raises:
        UsageError: the key is not in the environment.
        ModelError: the endpoint gives nothing, or its dimension, revision or vectors are not what they were.
    """

    def __init__(self, storage: Storage, spec: ModelSpec) -> None:
        super().__init__(spec)
        self.similarity = "dot" if spec.similarity == "dot" else "cosine"
        vectors, _, named = self._tried(lambda: self._ask([PROBE]), [PROBE])
        width = vectors.shape[1]
        if self.remote.dim is not None and width != self.remote.dim:
            raise ModelError(
                f"model {spec.path} gives vectors of dimension {width}, and remote.dim is {self.remote.dim}", "correct one of both"
            )
        probe = {"dim": width, "served": self._served(named), "probe": base64.b64encode(vectors[0].astype("<f4").tobytes()).decode()}
        self._check(self._remembered(storage, probe), vectors[0])
        self._width = width
        self.dim = min(width, spec.truncate_dim or width)

    def encode(self, texts: Sequence[str], report: Report = lambda _: None) -> Embeddings:
        """See :meth:`tasks.models.embedder.Embedder.encode`; ``tokens`` are those that the endpoint tells, ``truncated`` is not known: 0.

        Raises:
            ModelError: the endpoint gives nothing, or vectors of another dimension, or such that cannot be used.
        """
        given = [self.spec.prompt + text or " " for text in texts]
        blocks = [given[start : start + self.remote.batch] for start in range(0, len(given), self.remote.batch)]
        pieces, tokens = [], 0
        for vectors, counted, _ in self._side_by_side([(partial(self._ask, block), block) for block in blocks]):
            if vectors.shape[1] != self._width:
                raise self._changed(f"vectors of dimension {vectors.shape[1]}, and {self._width} before")
            pieces.append(vectors)
            tokens += counted or 0
            report(len(vectors))
        if not pieces:
            return Embeddings(np.empty((0, self.dim), dtype=np.float32), 0, 0)
        return Embeddings(finish(np.concatenate(pieces)[:, : self.dim], self.similarity, self.spec.path), tokens, 0)

    def _ask(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], int | None, str]:
        if self.remote.api == "openai":
            vectors, told, named = self._client.embeddings(self.spec.path, texts)
            if told is not None:
                self._pace.settle(told - _tokens(texts))
            return vectors, told, named
        rows = self._client.post("/embed", {"inputs": list(texts), "truncate": True, "normalize": self.similarity == "cosine"})
        return _vectors(rows, len(texts)), None, ""

    def _check(self, known: dict[str, Any], vector: NDArray[np.float32]) -> None:
        if known["dim"] != len(vector):
            raise self._changed(f"vectors of dimension {len(vector)}, and {known['dim']} before")
        before = np.frombuffer(base64.b64decode(known["probe"]), "<f4").astype(np.float64)
        size = float(np.linalg.norm(before) * np.linalg.norm(vector))
        cosine = float(before @ vector) / size if size else 1.0
        if cosine < _ALIKE:
            raise self._changed(f"its vector of a fixed text has a cosine of {cosine:.3f} with the one before")


class RemoteReranker(_Remote):
    """A cross-encoder behind text-embeddings-inference's ``/rerank``: raw scores, before any activation.

    Args:
        storage: the root, which remembers what is served.
        spec: with ``remote``; its prompt is put before each query here.

    Raises:
        UsageError: the key is not in the environment.
        ModelError: the endpoint gives nothing, or its revision or scores are not what they were.
    """

    def __init__(self, storage: Storage, spec: ModelSpec) -> None:
        super().__init__(spec)
        score = float(self._tried(lambda: self._ask(PROBE, [_OTHER_PROBE]), [PROBE, _OTHER_PROBE])[0])
        known = self._remembered(storage, {"score": score, "served": self._served()})
        if abs(score - known["score"]) > _APART * (1 + abs(known["score"])):
            raise self._changed(f"its score of a fixed pair is {score:.3f}, and {known['score']:.3f} before")

    def score(self, pairs: Sequence[tuple[str, str]], report: Report = lambda _: None) -> Scores:
        """See :meth:`tasks.models.cross_encoder.CrossEncoder.score`; tokens and truncated pairs are not known: 0.

        Raises:
            ModelError: the endpoint gives nothing, or scores that cannot be used.
        """
        work = [(partial(self._ask, *block), [block[0] * len(block[1]), *block[1]]) for block in _blocks(pairs, self.remote.batch)]
        pieces: list[NDArray[np.float32]] = []
        for scores in self._side_by_side(work):
            pieces.append(scores)
            report(len(scores))
        logits = np.concatenate([np.empty(0, dtype=np.float32), *pieces])
        check_logits(logits, self.spec.path)
        return Scores(logits, 0, 0)

    def _ask(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        texts = [document or " " for document in documents]
        rows = self._client.post("/rerank", {"query": self.spec.prompt + query, "texts": texts, "raw_scores": True, "truncate": True})
        try:
            found = {int(row["index"]): float(row["score"]) for row in rows}
            return np.array([found[place] for place in range(len(texts))], dtype=np.float32)
        except (TypeError, KeyError, ValueError) as error:
            raise Transient("an answer without a score for each text") from error


def _tokens(texts: Sequence[str]) -> int:
    """About how many tokens texts have: four bytes are one."""
    return sum(math.ceil(len(text.encode("utf-8", "surrogatepass")) / 4) for text in texts)


def _blocks(pairs: Sequence[tuple[str, str]], size: int) -> Iterator[tuple[str, list[str]]]:
    """Runs of pairs with one query, of a size at the most."""
    start = 0
    for place in range(1, len(pairs) + 1):
        if place == len(pairs) or pairs[place][0] != pairs[start][0] or place - start == size:
            yield pairs[start][0], [document for _, document in pairs[start:place]]
            start = place


def _vectors(rows: Any, count: int) -> NDArray[np.float32]:
    try:
        vectors = np.array(rows, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise Transient("vectors of several dimensions, or none") from error
    if vectors.ndim != 2 or len(vectors) != count:
        raise Transient(f"{len(vectors) if vectors.ndim else 'no'} vectors for {count} texts")
    if not np.isfinite(vectors).all():
        raise Transient("vectors with values that are no numbers")
    return vectors
