"""A synthetic collection of any size: short texts that lie in clusters, and a small embedder of random weights. Deterministic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.models.location import packaged

_BLOCK = 50_000
_TOPIC_WORDS, _COMMON_WORDS = 24, 400
_PER_TOPIC = 400  # documents

Ints = NDArray[np.int64]


def write_collection(folder: Path, documents: int, queries: int) -> None:
    """Write ``corpus.jsonl``, ``queries.jsonl`` and ``qrels/test.tsv``.

    A document is 8 to 14 words, two thirds of them from its topic's 24; a query is 6 words of one document, which is its positive.

    Args:
        folder: a new folder.
        documents: how many; a topic has about 400 of them.
        queries: how many.
    """
    (folder / "qrels").mkdir(parents=True)
    words = np.array(_words(), dtype=object)
    generator = np.random.default_rng(documents)
    topics = generator.integers(0, len(words), (max(1, documents // _PER_TOPIC), _TOPIC_WORDS))
    asked = np.unique(np.linspace(0, documents - 1, queries).astype(np.int64))
    with (folder / "corpus.jsonl").open("w") as corpus, (folder / "queries.jsonl").open("w") as questions:
        labels = ["query-id\tcorpus-id\tscore"]
        for start in range(0, documents, _BLOCK):
            numbers = np.arange(start, min(start + _BLOCK, documents))
            texts, lengths = _texts(generator, topics, len(numbers))
            corpus.writelines(
                json.dumps({"_id": f"d{number}", "title": "", "text": " ".join(words[row[:length]])}) + "\n"
                for number, row, length in zip(numbers.tolist(), texts, lengths.tolist(), strict=True)
            )
            for number in asked[(asked >= start) & (asked < start + _BLOCK)].tolist():
                questions.write(json.dumps({"_id": f"q{number}", "text": " ".join(words[texts[number - start, :6]])}) + "\n")
                labels.append(f"q{number}\td{number}\t1")
    (folder / "qrels" / "test.tsv").write_text("\n".join(labels) + "\n")


def write_embedder(folder: Path, dim: int = 64) -> None:
    """A sentence-transformers model of one layer with random weights, and the packaged model's tokenizer: mean pooling, cosine."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    body = folder / "body"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(hidden_size=dim, num_hidden_layers=1, num_attention_heads=2, intermediate_size=2 * dim, vocab_size=30_522)
        BertModel(config, add_pooling_layer=False).save_pretrained(body)
    AutoTokenizer.from_pretrained(packaged()).save_pretrained(body)
    transformer = Transformer(str(body), max_seq_length=64)
    SentenceTransformer(modules=[transformer, Pooling(dim), Normalize()], device="cpu").save(str(folder / "model"))


def _words() -> list[str]:
    """Whole words of the packaged model's vocabulary."""
    vocabulary = (packaged() / "vocab.txt").read_text().splitlines()
    return [word for word in vocabulary if len(word) >= 4 and word.isascii() and word.isalpha()]


def _texts(generator: np.random.Generator, topics: Ints, count: int) -> tuple[Ints, Ints]:
    """Numbers of words, (count, 14), and how many of them count."""
    own = topics[generator.integers(0, len(topics), count)]
    texts = np.take_along_axis(own, generator.integers(0, _TOPIC_WORDS, (count, 14)), axis=1)
    common = generator.integers(0, _COMMON_WORDS, (count, 14))
    return np.where(generator.random((count, 14)) < 2 / 3, texts, common), generator.integers(8, 15, count)
