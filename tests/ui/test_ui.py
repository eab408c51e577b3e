"""The UI in a real browser: a form filled in, a bad value refused, a round approved; Ctrl-C leaves nothing behind.

The form is filled for cranfield where HARDMINE_DATA is the folder that holds it, else for a small collection that is made up.
"""

import os
import shutil
from pathlib import Path

import pytest

from tests.deploy.service import ENDED, Service
from tests.ui.pages import FLAGS, Pages

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SHOTS = os.environ.get("HARDMINE_SHOTS")  # a folder: pictures are kept there
CRANFIELD = Path(os.environ.get("HARDMINE_DATA", "nowhere")) / "cranfield"

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
    """``hardmine serve``, ended by Ctrl-C."""
    service = Service(tmp_path_factory.mktemp("served"))
    try:
        yield service.wait()
        assert service.interrupt() == (0, [])
    finally:
        service.end()


@pytest.fixture(scope="module")
def ui(served):
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 1000})
        page.set_default_timeout(120_000)
        yield Pages(page, served.address)
        browser.close()


@pytest.fixture
def source(collection):
    """A dataset's name, its folder, and its number of queries, all with labels."""
    return ("cranfield", CRANFIELD, 225) if CRANFIELD.is_dir() else ("small", collection, 48)


def submitted(served, ui):
    """The run that the form makes."""
    before = {run["id"] for run in served.runs("mine")}
    ui.submit()
    return served.until(lambda: next((run["id"] for run in served.runs("mine") if run["id"] not in before), None), 120)


def reached(served, number, state):
    """A run once it is in a state."""

    def look():
        run = served.run(number)
        if run["state"]["name"] == state:
            return run
        assert run["state"]["type"] not in ENDED, f"{run['state']}\n{served.logs(number)[-4000:]}"
        return None

    return served.until(look, WAIT)


def stages(served):
    """By stage, the progress artifact of its last computation; a stage that is found done makes none."""
    return {key.removeprefix("progress-"): one["latest_id"] for key, one in served.artifacts().items()}


def picture(ui, name):
    if SHOTS:
        ui.page.wait_for_timeout(1500)
        ui.page.screenshot(path=Path(SHOTS) / f"{name}.png")


def test_a_filled_form_mines_a_round_and_shows_it(served, ui, source):
    name, folder, queries = source
    ui.open_form("mine")
    ui.fill("Name", name)
    ui.fill("Path", folder)
    ui.fill("Max Length", 64)
    ui.choose("Recipe", "top")
    ui.fill("Num Negatives", 0)
    ui.fill("further", "{recipes: [nv-retriever]}")
    ui.submit()
    ui.page.get_by_text("0 is less than the minimum of 1").first.wait_for()
    picture(ui, "refused")
    assert served.runs("mine") == []

    ui.fill("Num Negatives", 3)
    picture(ui, "form")
    run = reached(served, submitted(served, ui), "Completed")
    assert run["name"] == f"mine-{name}-r1"
    assert run["state"]["message"] == f"round {name}/1: {3 * queries} negatives by top for {queries} queries"  # 3 for each
    assert {f"round-{name}", f"summary-{name}", f"report-{name}", "progress-embed-documents"} <= served.artifacts_of(run["id"])
    ui.open_artifact(run["id"], f"summary-{name}", "Training files")
    shown = ui.page.locator("img[src^='data:image/png']")
    shown.first.wait_for()
    assert shown.first.evaluate("image => image.naturalWidth") > 300
    picture(ui, "summary")
    ui.open_artifact(run["id"], f"report-{name}", f"Report of round {name}/1")
    link = ui.page.get_by_role("link", name=f"Report of round {name}/1").first.get_attribute("href")
    ui.page.goto(link)
    ui.page.get_by_text(name).first.wait_for()
    picture(ui, "report")
    (event,) = served.until(lambda: served.events("hardmine.round.published", name))
    assert event["payload"]["round"] == f"{name}/1"


def test_a_doubtful_round_waits_for_a_person(served, ui, collection, cross_encoder):
    ui.open_form("mine")
    ui.fill("Name", "doubtful")
    ui.fill("Path", collection)
    ui.fill("Max Length", 64)
    ui.choose("Teacher", "given below")
    ui.fill("Teacher Path", cross_encoder)
    ui.fill("Teacher Depth", 20)
    ui.fill("Num Negatives", 2)
    ui.fill("Ask Above", "0.000001")
    run = reached(served, submitted(served, ui), "Suspended")
    before = stages(served)
    assert set(COMPUTED) <= set(before)
    ui.open(f"/runs/flow-run/{run['id']}", "Suspended")
    ui.page.get_by_role("button", name="Resume").first.click()
    ui.page.get_by_text("the limit is 0.0 %").wait_for()
    picture(ui, "approval")
    ui.choose("Decision", "publish")
    ui.page.get_by_role("button", name="Submit").last.click()
    done = reached(served, run["id"], "Completed")
    assert done["name"] == "mine-doubtful-r1"
    assert done["state"]["message"] == "round doubtful/1: 96 negatives by nv-retriever for 48 queries"  # 2 for each of 48
    after = stages(served)
    assert {name: after[name] for name in COMPUTED} == {name: before[name] for name in COMPUTED}  # none began again
