"""docs/reliability.md and the tests agree: each fault that is marked has its row, and each test that the page names is there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| (?P<how>[^|]+) \| (?P<tries>\d+) \| (?P<outcome>[^|]+) \| `(?P<test>tests/[^`]+::\w+)` \|$", re.MULTILINE
)


def marked():
    """(fault, test) of every marker ``fault(what, how)``."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for mark in getattr(node, "decorator_list", []):
                if isinstance(mark, ast.Call) and ast.unparse(mark.func).rpartition(".")[2] == "fault":
                    yield ast.literal_eval(mark.args[0]), f"{path.relative_to(ROOT).as_posix()}::{node.name}"


def test_every_fault_that_is_marked_has_its_row_and_no_other_is_listed():
    found = list(marked())
    assert len(found) > 60
    assert len({what for what, _ in found}) == len(found), "two tests write one row"
    assert {(row["what"], row["test"]) for row in ROW.finditer(PAGE)} == set(found)


def test_rows_are_as_the_run_wrote_them():
    for row in ROW.finditer(PAGE):
        assert row["outcome"] in ("held", "not run to its end") or "failed" in row["outcome"] or "skipped" in row["outcome"], row[0]
        assert row["outcome"] != "held" or int(row["tries"]) > 0, row[0]


def test_every_test_that_is_named_is_there():
    named = set(re.findall(r"`(tests/[\w/.]+)`", PAGE))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
