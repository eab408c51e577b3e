import itertools
import sys

import pytest

from tasks.corpus.readers import docstrings
from tasks.corpus.readers.rows import Cursor
from tasks.errors import UsageError

BODY = " ".join(f"word{n}" for n in range(20))

SOURCE = f'''"""A module that does things
over two lines.

{BODY}
"""
if True:
    def function():
        """Too short.

        {BODY}
        """
        def inner():
            """An inner function is left out.

            {BODY}"""

class Thing:
    """Only a summary without a body."""

    def method(self):
        """Do one thing at once.

        {BODY}"""

    def method(self):
        """Do another thing of the same name.

        {BODY}"""

    def _private(self):
        """Private things are left out.

        {BODY}"""

    class Part:
        async def run(self):
            """Run the part of it.

            {BODY}

            More."""
'''


def test_parse_by_hand():
    found = docstrings.parse(SOURCE.encode(), "pkg.mod", "pkg/mod.py")
    assert [(one.doc_id, one.title, one.summary, one.module) for one in found] == [
        ("pkg.mod", "pkg.mod", "A module that does things over two lines.", "pkg.mod"),
        ("pkg.mod.function", "function", "", "pkg.mod"),
        ("pkg.mod.Thing.method", "Thing.method", "Do one thing at once.", "pkg.mod"),
        ("pkg.mod.Thing.method", "Thing.method", "Do another thing of the same name.", "pkg.mod"),
        ("pkg.mod.Thing.Part.run", "Thing.Part.run", "Run the part of it.", "pkg.mod"),
    ]
    assert found[0].body == BODY
    assert found[4].body == f"{BODY}\n\nMore."
    assert [one.line for one in found][:2] == [1, 7]


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "hmpkg"
    for name, content in {
        "__init__.py": b"",
        "a.py": SOURCE.encode(),
        "_b.py": SOURCE.encode(),
        "sub/__init__.py": f'"""The package in a package.\n\n{BODY}"""'.encode(),
        "broken.py": b"def (:\n",
        "nul.py": b"x = 1\0\n",
        "tests/test_a.py": SOURCE.encode(),
        "test_c.py": SOURCE.encode(),
        "explode.py": b"raise SystemExit\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    sys.modules.pop("hmpkg", None)


def test_packages_are_found_and_read_without_import(package):
    roots = {"hmpkg": docstrings.package_roots("hmpkg")}
    rows = list(docstrings.read(roots, 0, 0, Cursor()))
    assert "hmpkg" not in sys.modules
    assert [(row.file, row.reason[:20]) for row in rows if row.reason] == [
        ("hmpkg/broken.py", "not parsed as Python"),
        ("hmpkg/nul.py", "not parsed as Python"),
    ]
    assert [row.values["doc_id"] for row in rows if not row.reason] == [
        *(f"hmpkg._b{name}" for name in ("", ".Thing.Part.run", ".Thing.method", ".function")),
        *(f"hmpkg.a{name}" for name in ("", ".Thing.Part.run", ".Thing.method", ".function")),
        "hmpkg.sub",
    ]
    by_id = {row.values["doc_id"]: row.values for row in rows if not row.reason}
    assert by_id["hmpkg.a.Thing.method"]["query"] == "Do one thing at once."
    assert by_id["hmpkg.a.function"]["query"] is None


def test_choice_is_by_hash_and_grows_with_the_limit(package):
    roots = {"hmpkg": docstrings.package_roots("hmpkg")}

    def kept(documents, queries):
        rows = [row.values for row in docstrings.read(roots, documents, queries, Cursor()) if not row.reason]
        return {row["doc_id"] for row in rows}, {row["query"] for row in rows if row["query"]}

    sizes = [kept(count, 0)[0] for count in (1, 3, 5, 9)]
    assert [len(names) for names in sizes] == [1, 3, 5, 9]
    assert all(few < more for few, more in itertools.pairwise(sizes))
    assert len(kept(0, 2)[1]) == 2
    assert kept(0, 2)[1] < kept(0, 3)[1]


def test_shared_summaries_are_one_query_with_several_positives(package, site):
    dataset = site.ingest(format="docstrings", packages=["hmpkg"])
    queries = {row["text"]: row["query_id"] for row in site.queries(dataset).to_pylist()}
    assert len(queries) == 4
    positives = [row["doc_id"] for row in site.qrels(dataset).to_pylist() if row["query_id"] == queries["Run the part of it."]]
    assert positives == ["hmpkg._b.Thing.Part.run", "hmpkg.a.Thing.Part.run"]
    assert (dataset.document_count, dataset.max_positives, dataset.rejected, dataset.counts["merged"]) == (9, 2, 2, 3)


def test_content_decides_the_key(package, site):
    first = site.ingest(format="docstrings", packages=["hmpkg"])
    assert site.ingest(format="docstrings", packages=["hmpkg"]).version == first.version
    assert set(site.progress.cached.values()) == {True}
    (package / "a.py").write_bytes(SOURCE.replace("word7", "other").encode())
    assert site.ingest(format="docstrings", packages=["hmpkg"]).version != first.version


@pytest.mark.parametrize(("name", "said"), [("no_such_package_hm", "is installed"), ("sys", "no Python source")])
def test_packages_that_cannot_be_read(name, said):
    with pytest.raises(UsageError, match=said):
        docstrings.package_roots(name)


def test_real_packages_are_enough(site):
    dataset = site.ingest(format="docstrings", packages=["pandas", "sklearn", "dask"], max_documents=2_400, max_queries=480, max_rejected=0)
    assert (dataset.document_count, dataset.query_count, dataset.counts["queries_without_positives"]) == (2_400, 480, 0)
    assert max(len(title.split(".")) for title in site.docs(dataset)["title"].to_pylist()) > 1
    assert min(len(text.split()) for text in site.docs(dataset)["text"].to_pylist()) == docstrings.BODY_WORDS
