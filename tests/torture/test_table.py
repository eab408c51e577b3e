"""The table of docs/reliability.md: what a part of the faults writes leaves the other rows as they are."""

from types import SimpleNamespace

import pluggy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.statistics import collector, describe_statistics

from tests.torture.table import BEGIN, END, FaultTable

ITEMS = {"one": "tests/b/test_b.py::test_one[2]", "two": "tests/a/test_a.py::test_two"}


def told(table, what, outcome="passed", statistics="", **properties):
    """Let the plugin hear of a test."""
    marker = SimpleNamespace(args=(what, f"how {what}"))
    item = SimpleNamespace(get_closest_marker=lambda _: marker, nodeid=ITEMS[what], hypothesis_statistics=statistics)
    report = SimpleNamespace(when="call", outcome=outcome, user_properties=list(properties.items()))
    hook = table.pytest_runtest_makereport(item)
    next(hook)
    with pytest.raises(StopIteration):
        hook.send(SimpleNamespace(get_result=lambda: report))


def test_parts_are_merged(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n\n{END}\nafter\n")
    told(FaultTable(page), "one", tries=7, places={"x": 3, "y": 4})
    second = FaultTable(page)
    told(second, "two")
    told(second, "two", outcome="failed")
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert [line for line in lines if line.startswith("| ")] == [
        "| fault | how it is injected | tries | outcome | test |",
        "| two | how two | 2 | 1 failed, 1 passed | `tests/a/test_a.py::test_two` |",
        "| one | how one | 7 | held | `tests/b/test_b.py::test_one` |",
    ]
    assert "one, by place: x 3, y 4." in lines
    told(FaultTable(page), "one", tries=2)
    assert "| one | how one | 2 | held | `tests/b/test_b.py::test_one` |" in page.read_text()


def test_examples_of_hypothesis_are_counted(tmp_path):
    page, told_of = tmp_path / "page.md", []
    page.write_text(f"{BEGIN}\n{END}\n")

    @settings(max_examples=30, database=None)
    @given(st.integers())
    def holds(_):
        pass

    with collector.with_value(lambda statistics: told_of.append({**statistics, "nodeid": "x"})):
        holds()
    told(FaultTable(page), "one", statistics=describe_statistics(told_of[0]))
    assert "| one | how one | 30 | held |" in page.read_text()


def test_pytest_takes_it_among_folders_of_their_own_settings(tmp_path):
    manager = pluggy.PluginManager("pytest")
    assert manager.register(FaultTable(tmp_path / "page.md"))
    assert hash(FaultTable(tmp_path / "page.md")), "pytest keeps plugins in sets where folders have a conftest.py"
