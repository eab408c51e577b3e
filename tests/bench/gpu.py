"""A GPU: tokens a second of encoding and scoring, their share of the device's measured matrix peak, and sentence-transformers beside them.

    python -m tests.bench.gpu --root FOLDER [--documents 100000] [--pairs 50000] [--model packaged] [--rows 1000000]

Both sides in bfloat16, tokenising included, after a first batch of each. sentence-transformers runs at its default batch of 32 and at 256;
the ratio is to the better one. Then exact search of a million vectors, beside torch's own product and topk in float32.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tasks.models.cross_encoder import CrossEncoder
from tasks.models.embedder import Embedder
from tasks.models.fingerprint import document_spec, teacher_spec
from tasks.models.location import locate
from tasks.models.packed import is_packed
from tasks.models.search import nearest
from tasks.models.settings import ModelSettings, TeacherSettings
from tests.bench.scaling import write_teacher
from tests.bench.workload import read_lines, write_docstrings

LENGTH, TOP = 256, 100
BATCHES = (32, 256)
GIVEN: dict[str, Any] = {"device": "cuda", "dtype": "bfloat16", "max_length": LENGTH}


def seconds(run: Callable[[], object]) -> float:
    """Wall seconds until the device is done."""
    import torch

    torch.cuda.synchronize()
    began = time.perf_counter()
    run()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def matrix_peak(size: int = 8192, times: int = 20) -> float:
    """Floating-point operations a second of bfloat16 products of square matrices."""
    import torch

    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    return 2 * size**3 * times / seconds(lambda: [left @ right for _ in range(times)])


def operations(model: Any, tokens: int, lengths: float) -> float:
    """Floating-point operations of a forward pass: two for each weight of the layers and token, and attention's."""
    body = model[0].model
    config = body.config
    layers = sum(weights.numel() for name, weights in body.named_parameters() if "embeddings" not in name and weights.ndim == 2)
    return tokens * (2.0 * layers + 4.0 * config.num_hidden_layers * config.hidden_size * lengths)


def compared(
    name: str, model: Any, inputs: list[Any], ours: Callable[[list[Any]], Any], theirs: Callable[[list[Any], int], Any], peak: float
) -> str:
    """A line of the table."""
    ours(inputs[:512])
    made: list[Any] = []
    mine = seconds(lambda: made.append(ours(inputs)))
    others = []
    for batch in BATCHES:
        theirs(inputs[:512], batch)
        others.append(seconds(lambda batch=batch: theirs(inputs, batch)))
    tokens = int(made[0].tokens)
    share = operations(model, tokens, tokens / len(inputs)) / mine / peak
    how = "packed" if is_packed(model) else "padded"
    beside = " | ".join(f"{tokens / other:,.0f}" for other in others)
    return f"| {name} ({how}) | {len(inputs):,} | {tokens / mine:,.0f} | {100 * share:.1f} % | {beside} | {min(others) / mine:.2f} |"


def encoding(path: str, texts: list[str], peak: float) -> str:
    """Texts to vectors."""
    import torch
    from sentence_transformers import SentenceTransformer

    spec = document_spec(ModelSettings(path=path, **GIVEN))
    ours = Embedder(spec)
    theirs = SentenceTransformer(str(locate(spec.path, spec.revision)), device="cuda", model_kwargs={"dtype": torch.bfloat16})
    theirs.max_seq_length = LENGTH
    return compared("encode", ours._model, texts, ours.encode, lambda some, batch: theirs.encode(some, batch_size=batch), peak)


def scoring(path: str, pairs: list[tuple[str, str]], peak: float) -> str:
    """Pairs to logits."""
    import torch
    from sentence_transformers import CrossEncoder as Theirs

    ours = CrossEncoder(teacher_spec(TeacherSettings(path=path, **GIVEN)))
    theirs = Theirs(path, device="cuda", max_length=LENGTH, model_kwargs={"dtype": torch.bfloat16})
    return compared("score", ours._model, pairs, ours.score, lambda some, batch: theirs.predict(some, batch_size=batch), peak)


def searching(rows: int, queries: int = 10_000, dim: int = 384) -> str:
    """Vectors in clusters."""
    import torch

    generator = np.random.default_rng(0)
    centres = generator.standard_normal((max(1, rows // 1000), dim), dtype=np.float32)
    documents = centres[generator.integers(0, len(centres), rows)] + 0.5 * generator.standard_normal((rows, dim), dtype=np.float32)
    documents /= np.linalg.norm(documents, axis=1, keepdims=True)
    asked = documents[generator.integers(0, rows, queries)] + 0.02 * generator.standard_normal((queries, dim), dtype=np.float32)
    there = torch.from_numpy(documents).cuda()
    found: list[Any] = []

    def plain() -> None:
        pieces = [(torch.from_numpy(asked[start : start + 256]).cuda() @ there.T).topk(TOP) for start in range(0, queries, 256)]
        found.append(torch.cat([piece.values for piece in pieces]).cpu().numpy())

    plain()
    exact = seconds(plain)
    nearest(documents, asked[:256], TOP, "cuda")
    mine = seconds(lambda: found.append(nearest(documents, asked, TOP, "cuda")[0]))
    same = float(np.mean(np.abs(found[-1] - found[-2]) < 1e-4))
    operated = 2.0 * rows * queries * dim / mine / 1e12
    return (
        f"search of {queries:,} queries, top {TOP}, in {rows:,} vectors of {dim} dimensions, moving them there included: {mine:.2f} s "
        f"({operated:.0f} TFLOP/s); float32 product and topk of vectors that are there: {exact:.2f} s; {same:.2%} of the scores equal"
    )


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--pairs", type=int, default=50_000)
    parser.add_argument("--model", default="packaged")
    parser.add_argument("--rows", type=int, default=1_000_000)
    given = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("torch finds no GPU here: nothing is measured")
    folder = given.root.resolve()
    if not (folder / "collection").exists():
        write_docstrings(folder / "collection", 20_000, 2_000)
    if not (folder / "teacher").exists():
        write_teacher(folder / "teacher")
    docs, queries = ([row["text"] for row in read_lines(folder / "collection" / name)] for name in ("corpus.jsonl", "queries.jsonl"))
    texts = [docs[number % len(docs)] for number in range(given.documents)]
    pairs = [(queries[number % len(queries)], docs[number * 7 % len(docs)]) for number in range(given.pairs)]
    peak = matrix_peak()
    print(f"{torch.cuda.get_device_name()}, matrix peak {peak / 1e12:.0f} TFLOP/s in bfloat16, torch {torch.__version__}\n")  # noqa: T201
    theirs = " | ".join(f"sentence-transformers, batches of {batch}" for batch in BATCHES)
    print(f"| work | inputs | tokens/s | share of the peak | {theirs} | ratio |\n|---|---|---|---|---|---|---|")  # noqa: T201
    print(encoding(given.model, texts, peak))  # noqa: T201
    print(scoring(str(folder / "teacher"), pairs, peak))  # noqa: T201
    print(f"\n{searching(given.rows)}")  # noqa: T201


if __name__ == "__main__":
    main()
