"""Progress is a display: it never counts more than there is, and never fails a run."""

import io
import logging
import time
import uuid

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from rich.console import Console

from flows.progress import ArtifactProgress, LogProgress, TerminalProgress, _Count
from tasks.store.manifest import StageManifest
from tests.conftest import free_port

MANIFEST = StageManifest(stage="embed", version=1, key="0" * 32, settings={}, parts=(), counters={}, seconds=0.0)


def test_a_partition_that_is_tried_twice_counts_once():
    count = _Count("pairs", 1000, 0, began=time.monotonic() - 10)
    count.add(900)
    assert count.describe().startswith("900 of 1,000 pairs, ")
    count.add(300)
    said = count.describe()
    assert said.startswith("1,000 of 1,000 pairs, ")
    assert said.endswith("/s, 0 s left")  # not -200 pairs' time
    assert count.percent == 100


@pytest.mark.parametrize("kind", [LogProgress, TerminalProgress])
def test_listeners_of_a_terminal_take_more_than_there_is(kind):
    told = io.StringIO()
    with kind(Console(file=told)) as progress:
        progress.start("embed", "documents", 10, 4)
        progress.advance("embed", 5)
        progress.advance("embed", 5)
        assert progress._state["embed"].done == 10
        progress.say("cluster [a]: waiting 300 s")
        progress.finish(MANIFEST, cached=False)
    assert "embed" in told.getvalue()
    assert "! cluster [a]: waiting 300 s\n" in told.getvalue()


@pytest.fixture
def nobody():
    """Prefect's address, where no server answers."""
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        yield


def test_a_server_that_refuses_fails_no_stage(nobody, caplog):
    with ArtifactProgress() as progress:
        progress.start("embed", "documents", 10, 0)
        progress.advance("embed", 12)
        progress._ids["embed"] = uuid.uuid4()  # as if the server had gone later
        progress.finish(MANIFEST, cached=False)
        progress.advance("embed", 1)  # told late
    warned = [one for one in caplog.records if one.name == "flows.progress" and one.levelno == logging.WARNING]
    assert len(warned) == 1
    assert "progress of embed is not shown, the run goes on" in warned[0].getMessage()
    progress.say("waiting")  # outside of a run there is no run's log
    assert caplog.records[-1].getMessage() == "waiting"


def test_an_update_that_fails_ends_no_updates(nobody, caplog):
    caplog.set_level(logging.DEBUG, "flows.progress")
    with ArtifactProgress(every=0.01) as progress:
        progress.start("embed", "documents", 10, 0)
        progress._ids["embed"] = uuid.uuid4()
        until = time.monotonic() + 60
        while len(caplog.records) < 4 and time.monotonic() < until:
            time.sleep(0.05)
        assert progress._thread.is_alive()
    assert sum(one.name == "flows.progress" for one in caplog.records) >= 3
