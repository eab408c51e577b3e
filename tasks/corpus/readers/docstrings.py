"""Docstrings of installed Python packages, parsed without importing them.

A docstring's body (what follows its first paragraph) is a document; its first paragraph is the query that the body
answers.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import xxhash

from tasks.corpus.readers.rows import Cursor, Raw
from tasks.errors import UsageError
from tasks.store.keys import digest, file_checksum

SUMMARY_WORDS = 4
BODY_WORDS = 20
_TESTS = frozenset({"test", "tests"})
_Body = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class SourceFile(NamedTuple):
    """A module's file: dotted name, name to show, path."""

    module: str
    shown: str
    path: Path


class Docstring(NamedTuple):
    """One docstring in two halves."""

    doc_id: str
    title: str
    summary: str
    body: str
    module: str
    line: int
    file: str


def package_roots(package: str) -> list[Path]:
    """Folders of an installed package, or the file of a single module.

    Raises:
        UsageError: nothing of that name is installed, or it has no Python source.
    """
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise UsageError(
            f"dataset.packages: no package {package!r} is installed", "give its import name (sklearn, not scikit-learn), or install it"
        )
    if spec.submodule_search_locations:
        return [Path(location) for location in spec.submodule_search_locations]
    if spec.origin and spec.origin.endswith(".py"):
        return [Path(spec.origin)]
    raise UsageError(f"dataset.packages: {package!r} has no Python source files", "choose a package that is written in Python")


def source_files(package: str, roots: Sequence[Path]) -> list[SourceFile]:
    """The package's ``.py`` files without its tests, sorted by name."""
    files = []
    for root in roots:
        for path in [root] if root.is_file() else root.rglob("*.py"):
            inner = () if root.is_file() else path.relative_to(root).parts
            if _TESTS & set(inner) or path.name.startswith("test_") or path.name == "conftest.py":
                continue
            names = [package, *(part.removesuffix(".py") for part in inner)]
            module = ".".join(names[:-1] if names[-1] == "__init__" else names)
            files.append(SourceFile(module, "/".join([package, *inner]) if inner else path.name, path))
    return sorted(files)


def checksum(packages: dict[str, Sequence[Path]]) -> tuple[str, int]:
    """Digest of all source files' names and content, and their size in bytes."""
    files = [file for package, roots in sorted(packages.items()) for file in source_files(package, roots)]
    return digest([[file.shown, file_checksum(file.path)] for file in files]), sum(file.path.stat().st_size for file in files)


def read(packages: dict[str, Sequence[Path]], max_documents: int, max_queries: int, cursor: Cursor) -> Iterator[Raw]:
    """Rows of role ``packages``, sorted by document id; files that cannot be parsed come first, set aside.

    Which ones are kept is decided by the hash of the document's id and of the query's text, so that it depends on
    nothing else. All docstrings of the packages are in memory at once.

    Args:
        packages: folders by package.
        max_documents: keep so many at most; 0: all.
        max_queries: keep so many distinct summaries of kept documents at most; 0: all.
        cursor: moved as files are parsed.
    """
    found: dict[str, Docstring] = {}
    for package, roots in sorted(packages.items()):
        for file in source_files(package, roots):
            data = file.path.read_bytes()
            try:
                for docstring in parse(data, file.module, file.shown):
                    found.setdefault(docstring.doc_id, docstring)
            except (SyntaxError, ValueError, RecursionError) as error:
                first = data.split(b"\n", 1)[0].decode("utf-8", "replace")
                yield Raw(getattr(error, "lineno", None) or 1, {}, first, f"not parsed as Python: {error}", file.shown)
            cursor.done += len(data)
    kept = _smallest(found, max_documents)
    asked = set(_smallest({found[name].summary for name in kept if found[name].summary}, max_queries))
    for name in kept:
        one = found[name]
        query = one.summary if one.summary in asked else None
        values = {"doc_id": one.doc_id, "title": one.title, "text": one.body, "group_id": one.module, "query": query}
        yield Raw(one.line, values, file=one.file)


def parse(source: bytes, module: str, file: str = "") -> list[Docstring]:
    """All docstrings of a module that have a long enough body; summaries that are too short are left empty.

    Private objects and functions inside functions are left out; of several objects of one name the first counts.

    Raises:
        SyntaxError: the source is not Python of this version.
        ValueError: it has NULs.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(source)
    found: list[Docstring] = []
    _collect(tree, module, "", file, found)
    return found


def _collect(node: _Body, module: str, name: str, file: str, found: list[Docstring]) -> None:
    text = ast.get_docstring(node, clean=False)
    halves = split(text) if text else None
    if halves is not None:
        line = 1 if isinstance(node, ast.Module) else node.lineno
        found.append(Docstring(f"{module}.{name}" if name else module, name or module, *halves, module, line, file))
    if isinstance(node, ast.Module | ast.ClassDef):
        for inner in _definitions(node.body):
            if not inner.name.startswith("_"):
                _collect(inner, module, f"{name}.{inner.name}" if name else inner.name, file, found)


def _definitions(body: Sequence[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Definitions in a body, those under if, try and with among them."""
    for statement in body:
        if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement
        elif isinstance(statement, ast.If | ast.Try | ast.With):
            yield from _definitions(statement.body)
            yield from _definitions(getattr(statement, "orelse", []))


def split(docstring: str) -> tuple[str, str] | None:
    r"""(summary, body) of a docstring; ``None`` if the body is too short, an empty summary if that is.

    >>> split("Add.\n\n" + "word " * 20)[0]
    ''
    """
    paragraphs = inspect.cleandoc(docstring).split("\n\n", 1)
    body = paragraphs[1].strip() if len(paragraphs) > 1 else ""
    if len(body.split()) < BODY_WORDS:
        return None
    words = paragraphs[0].split()
    return (" ".join(words) if len(words) >= SUMMARY_WORDS else ""), body


def _smallest(names: dict[str, Docstring] | set[str], count: int) -> list[str]:
    """The ``count`` names (0: all) with the smallest hashes, in alphabetical order."""
    if count:
        ranked = sorted(names, key=lambda name: (xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass")), name))
        return sorted(ranked[:count])
    return sorted(names)
