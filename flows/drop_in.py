"""sentence-transformers' ``mine_hard_negatives``, over a root: change one import, and a script has caches, resume, ids and audit.

from flows.drop_in import mine_hard_negatives   # was: from sentence_transformers.util import mine_hard_negatives
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from flows.cache_only import Quiet
from flows.cluster import executors
from flows.mine import mine_round
from flows.mined_pairs.found import found_in
from flows.mined_pairs.request import checked
from flows.mined_pairs.rows import columns_of
from flows.mined_pairs.settings import prompt_of, retriever, scorer, settings_of
from flows.mined_pairs.statistics import lines_of
from flows.mined_pairs.texts import texts_of
from flows.results import MineResult
from flows.settings import WORKER_PATIENCE, MineSettings
from tasks.audit.records import read_round
from tasks.runner.runner import Context
from tasks.store.lease import at_work
from tasks.store.storage import open_storage


def mine_hard_negatives(
    dataset: Any,
    model: Any,
    anchor_column_name: str | None = None,
    positive_column_name: str | None = None,
    corpus: list[str] | None = None,
    cross_encoder: Any = None,
    range_min: int = 0,
    range_max: int | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    num_negatives: int = 3,
    sampling_strategy: Literal["random", "top"] = "top",
    query_prompt_name: str | None = None,
    query_prompt: str | None = None,
    corpus_prompt_name: str | None = None,
    corpus_prompt: str | None = None,
    include_positives: bool = False,
    output_format: Literal["triplet", "n-tuple", "labeled-pair", "labeled-list"] = "triplet",
    output_scores: bool = False,
    batch_size: int = 32,
    faiss_batch_size: int = 16384,
    use_faiss: bool = False,
    use_multi_process: list[str] | bool = False,
    verbose: bool = True,
    cache_folder: str | None = None,
    as_triplets: bool | None = None,
    margin: float | None = None,
    *,
    root: str | None = None,
    name: str | None = None,
    seed: int = 0,
) -> Any:
    """Add hard negatives to a dataset of (anchor, positive) pairs.

    Parameters, outputs, their order and errors are those of sentence-transformers 6.2; docs/drop-in.md says where something differs.

    Args:
        dataset: a ``datasets.Dataset`` of pairs; rows of equal anchors are positives of one query.
        model: a SentenceTransformer on the torch backend.
        anchor_column_name: of queries; none: the first column.
        positive_column_name: of positives; none: the second column.
        corpus: further documents.
        cross_encoder: a CrossEncoder with one output, whose scores the filters compare.
        range_min: rank of the first candidate.
        range_max: rank of the last one; none: as much as ``num_negatives`` and the filters need.
        max_score: highest score of a negative.
        min_score: lowest one.
        absolute_margin: least distance from the query's weakest positive.
        relative_margin: the same, as a share of that positive's score.
        num_negatives: of a row.
        sampling_strategy: ``random`` is seeded by ``seed``.
        query_prompt_name: of a prompt of the model.
        query_prompt: text before each query.
        corpus_prompt_name: of a prompt of the model.
        corpus_prompt: text before each document.
        include_positives: whether positives stand in the ranking.
        output_format: triplet, n-tuple, labeled-pair or labeled-list.
        output_scores: whether rows have scores.
        batch_size: takes no part: batches are formed by tokens.
        faiss_batch_size: likewise.
        use_faiss: likewise: search is FAISS', and exact.
        use_multi_process: True, or a list of devices: so many processes.
        verbose: whether to print statistics.
        cache_folder: the root, where ``root`` is not given.
        as_triplets: deprecated.
        margin: deprecated.
        root: where everything is kept, a folder or s3://bucket/prefix; none: cache_folder, HARDMINE_ROOT, or ``./mining``.
        name: of the dataset in the root; none: made from its texts.
        seed: of random sampling.

    Returns:
        A ``datasets.Dataset``.

    Raises:
        ValueError: as sentence-transformers.
        UsageError: a model that Hardmine cannot take, before anything runs.
        InputError: more than 1 % of the texts are empty.
    """
    from datasets import Dataset

    say = _say if verbose else _silent
    request = checked(dataset, dict(locals()), say)
    base = _root(root, cache_folder)
    prompts = (
        prompt_of(model, query_prompt, query_prompt_name, ("query",)),
        prompt_of(model, corpus_prompt, corpus_prompt_name, ("document", "passage", "corpus")),
    )
    texts = texts_of(list(dataset[request.anchor]), list(dataset[request.positive]), corpus)
    encoder = retriever(model, base, *prompts)
    teacher = scorer(cross_encoder, base, request.depth) if request.rescored else None
    with tempfile.TemporaryDirectory() as folder:
        files = {"name": name or texts.name, **texts.write(Path(folder))}
        settings = settings_of(request, base, files, encoder, teacher, seed)
        result = _mine(settings, use_multi_process)
    storage = open_storage(base)
    record = read_round(storage, result.dataset, result.number)
    found = found_in(storage, record, record.selection(result.selection_id), request, settings.score)
    columns = columns_of(texts, found, request)
    for line in lines_of(texts, found, request, len(columns[request.anchor])):
        say(line)
    say(f"Round {result.round}, selection {result.selection_id[:12]}, in {storage.root}")
    return Dataset.from_dict(columns)


def _mine(settings: MineSettings, processes: list[str] | bool) -> MineResult:
    with _executor(settings, processes) as executor, at_work(storage := open_storage(settings.root), "mine"):
        return mine_round(settings, Context(storage, executor, Quiet()))


@contextmanager
def _executor(settings: MineSettings, processes: list[str] | bool) -> Iterator[Callable[[], Any]]:
    """This process, or so many of a local cluster."""
    if processes:
        count = len(processes) if isinstance(processes, list) else None
        with executors("local", count, WORKER_PATIENCE, Quiet()) as executor:
            yield executor
        return
    from tasks.runner.inline import InlineExecutor

    yield lambda: InlineExecutor(1)


def _root(root: str | None, cache_folder: str | None) -> str:
    found = root or cache_folder or os.environ.get("HARDMINE_ROOT") or "./mining"
    return found if "://" in found else str(Path(found).expanduser().resolve())


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _silent(line: str) -> None:
    del line
