"""Rules of the house that import-linter cannot say."""

import ast
import importlib
from pathlib import Path

import pytest

from tasks.runner.stage import Stage

ROOT = Path(__file__).parents[2]
MODULES = sorted([*(ROOT / "tasks").rglob("*.py"), *(ROOT / "flows").rglob("*.py")])
HOMES = {
    "faiss": {"tasks/retrieve/faiss_search.py"},
    "bm25s": {"tasks/retrieve/bm25_index.py"},
    "duckdb": {"tasks/sql.py"},
    "distributed": {"tasks/runner/dask_executor.py"},
    "dask": {"tasks/runner/dask_executor.py"},
    "s3fs": {"tasks/store/s3.py"},
    "sentence_transformers": {
        "tasks/models/embedder.py",
        "tasks/models/cross_encoder.py",
        "tasks/models/finetuning.py",
        "tasks/models/trainer.py",
        "tasks/models/correcting.py",
    },
    "openai": {"tasks/remote/client.py"},
    "httpx2": {"tasks/remote/client.py"},
    "peft": {"tasks/models/adapter.py"},
    "ir_measures": {"tasks/evaluate/measures.py"},
    "matplotlib": {"tasks/compare/figure.py", "tasks/compare/labels.py", "tasks/compare/plot.py"},
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def name(path):
    return path.relative_to(ROOT).as_posix()


def test_each_heavy_library_has_one_home():
    for path in MODULES:
        for module in imports(path):
            library = module.split(".")[0]
            home = {name(path)} if name(path).startswith("tasks/models/losses/") else HOMES.get(library, {name(path)})
            assert name(path) in home, f"{name(path)} imports {library}"
            if library in ("torch", "transformers"):
                assert name(path).startswith("tasks/models/"), f"{name(path)} imports {library}"


def test_modules_stay_short_and_packages_hold_no_logic():
    for path in MODULES:
        lines = path.read_text().splitlines()
        assert len(lines) <= 300, f"{name(path)} has {len(lines)} lines"
        if path.name == "__init__.py":
            body = ast.parse(path.read_text()).body
            assert len(body) == 1, f"{name(path)} has logic"
            assert isinstance(body[0], ast.Expr)


def stages():
    found = {}
    for path in MODULES:
        if name(path).startswith("tasks/") and path.name not in ("__init__.py", "task.py"):
            module = importlib.import_module(name(path).removesuffix(".py").replace("/", "."))
            for value in vars(module).values():
                if isinstance(value, Stage):
                    found[value.name] = value
    return found


def test_every_stage_resolves_to_a_function_of_its_folder():
    known = stages()
    assert set(known) == {
        "ingest", "documents", "query-groups", "queries", "embed-documents", "embed-queries", "dense-clusters", "retrieve-dense",
        "bm25-statistics", "retrieve-bm25", "given-candidates", "given-document-vectors", "given-query-vectors",
        "capped-queries", "chunks", "ensemble", "visible-positives", "mixture",
        "candidates", "train-teacher", "train-retriever", "evaluate", "score", "scored", "select", "hub-limits", "shards", "gate",
        "written-documents", "candidates-written", "asking", "calibrate", "probe", "measure",
        "sampled", "signatures", "feature-containment", "feature-positive-score", "feature-clusters-documents", "feature-clusters-queries",
        "feature-clusters", "feature-answers", "feature-context", "feature-duplicates-clusters", "feature-duplicates", "feature-size",
        "feature-judged", "feature-rank-weights-fit", "feature-rank-weights", "label-means", "label-stars", "feature-evidence",
        "staleness", "staleness-summary", "evaluate-teacher",
    }  # fmt: skip
    for stage in known.values():
        assert callable(stage.resolve())
        assert stage.version >= 1


def test_every_stage_folder_has_its_prefect_tasks():
    folders = {stage.function.split(".")[1] for stage in stages().values()}
    for folder in folders:
        assert (ROOT / "tasks" / folder / "task.py").exists(), folder


@pytest.mark.parametrize("text", ["NotImplementedError"])
def test_nothing_is_left_unwritten(text):
    allowed = {"tasks/models/losses/base.py", "tasks/select/rules/base.py", "tasks/select/published.py"}  # abstract methods
    assert {name(path) for path in MODULES if text in path.read_text()} <= allowed
