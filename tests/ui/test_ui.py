"""The UI in a real browser: a form filled in, a bad value refused, a round approved; Ctrl-C leaves nothing behind."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import free_port
from tests.ui.pages import FLAGS, Pages

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
ROOT = Path(__file__).parents[2]
SHOTS = os.environ.get("HARDMINE_SHOTS")  # a folder: pictures are kept there

COMPUTED = ("documents", "embed-documents", "retrieve-dense", "candidates", "score", "scored", "gate", "shards")
WAIT = 900  # seconds for a run on a busy machine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(BROWSER is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """``hardmine serve``: its address; ended by Ctrl-C."""
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    inherited = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "flows.cli", "serve", "--port", str(port), "--root", str(folder / "root")],
        cwd=folder,
        env={**inherited, "PREFECT_HOME": str(folder / "prefect"), "PYTHONPATH": str(ROOT)},
        stdout=(folder / "log").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    until = time.monotonic() + 400
    while "Prefect UI" not in (folder / "log").read_text():
        assert process.poll() is None and time.monotonic() < until, (folder / "log").read_text()
        time.sleep(0.5)
    yield f"http://127.0.0.1:{port}"
    family = psutil.Process(process.pid).children(recursive=True)
    assert family
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []


@pytest.fixture(scope="module")
def ui(served):
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 1000})
        page.set_default_timeout(120_000)
        yield Pages(page, served)
        browser.close()


def stages(ui):
    """By stage, the progress artifact of its last computation; a stage that is found done makes none."""
    return {one["key"].removeprefix("progress-"): one["latest_id"] for one in ui.api("/artifacts/latest/filter", {"limit": 200})}


def published(ui, seconds=60):
    """Events of rounds, which come a moment after the run has ended."""
    for _ in range(seconds):
        found = ui.api("/events/filter", {"filter": {"event": {"name": ["hardmine.round.published"]}}})["events"]
        if found:
            break
        time.sleep(1)
    return found


def picture(ui, name):
    if SHOTS:
        ui.page.wait_for_timeout(1500)
        ui.page.screenshot(path=Path(SHOTS) / f"{name}.png")


def test_a_filled_form_mines_a_round_and_shows_it(ui, collection):
    ui.open_form("mine")
    ui.fill("Name", "small")
    ui.fill("Path", collection)
    ui.fill("Max Length", 64)
    ui.choose("Recipe", "top")
    ui.fill("Num Negatives", 0)
    ui.submit()
    ui.page.get_by_text("0 is less than the minimum of 1").first.wait_for()
    picture(ui, "refused")
    assert ui.api("/flow_runs/filter") == []

    ui.fill("Num Negatives", 3)
    ui.submit()
    run = ui.run_of("Completed", "mine", WAIT)
    assert run["name"] == "mine-small-r1"
    assert run["state"]["message"] == "round small/1: 144 negatives by top for 48 queries"  # 3 for each of the 48 queries
    found = {one["key"]: one for one in ui.api("/artifacts/latest/filter")}
    assert {"round-small", "summary-small", "report-small", "progress-embed-documents"} <= set(found)
    ui.open(f"/artifacts/artifact/{found['summary-small']['latest_id']}", "Training files")
    shown = ui.page.locator("img[src^='data:image/png']")
    shown.first.wait_for()
    assert shown.first.evaluate("image => image.naturalWidth") > 300
    picture(ui, "summary")
    ui.open(f"/artifacts/artifact/{found['report-small']['latest_id']}", "Report of round small/1")
    link = ui.page.get_by_role("link", name="Report of round small/1").first.get_attribute("href")
    ui.page.goto(link)
    ui.page.get_by_text("small").first.wait_for()
    picture(ui, "report")
    (event,) = published(ui)
    assert event["payload"]["round"] == "small/1"


def test_a_doubtful_round_waits_for_a_person(ui, collection, cross_encoder):
    ui.open_form("mine")
    ui.fill("Name", "doubtful")
    ui.fill("Path", collection)
    ui.fill("Max Length", 64)
    ui.choose("Teacher", "given below")
    ui.fill("Teacher Path", cross_encoder)
    ui.fill("Teacher Depth", 20)
    ui.fill("Num Negatives", 2)
    ui.fill("Ask Above", "0.000001")
    ui.submit()
    run = ui.run_of("Suspended", "mine", WAIT)
    before = stages(ui)
    assert set(COMPUTED) <= set(before)
    ui.open(f"/runs/flow-run/{run['id']}", "Suspended")
    ui.page.get_by_role("button", name="Resume").first.click()
    ui.page.get_by_text("of the negatives are relevant").wait_for()
    picture(ui, "approval")
    ui.choose("Decision", "publish")
    ui.page.get_by_role("button", name="Submit").last.click()
    done = ui.run_of("Completed", "mine", WAIT)
    assert (done["id"], done["name"]) == (run["id"], "mine-doubtful-r1")
    assert done["state"]["message"] == "round doubtful/1: 96 negatives by nv-retriever for 48 queries"  # 2 for each of 48
    after = stages(ui)
    assert {name: after[name] for name in COMPUTED} == {name: before[name] for name in COMPUTED}  # none began again
