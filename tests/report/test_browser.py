"""The report in a real browser, where one is installed."""

import shutil
import subprocess

import numpy as np
import pytest

from tasks.report.render import write_report
from tests.report.build import full

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
)  # fmt: skip

pytestmark = [pytest.mark.browser, pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return write_report(full(), tmp_path_factory.mktemp("report") / "report.html")


def picture(report, folder, width, dark):
    from matplotlib.image import imread

    path = folder / "page.png"
    look = (f"--blink-settings=preferredColorScheme={0 if dark else 1}", f"--user-data-dir={folder / 'browser'}")
    command = [BROWSER, *FLAGS, *look, f"--window-size={width},4000", f"--screenshot={path}", report.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return imread(path)[:, :, :3]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 480])
def test_the_page_is_drawn(report, tmp_path, width, dark):
    seen = picture(report, tmp_path, width, dark)
    assert seen.shape == (4000, width, 3)
    ground = np.median(seen.reshape(-1, 3), axis=0)
    assert (ground.mean() < 0.2) if dark else (ground.mean() > 0.9)
    drawn = (np.abs(seen - ground).max(axis=2) > 0.25).any(axis=1)
    assert drawn.mean() > 0.5  # there is something in most lines of the picture
    assert np.abs(seen[:, -8:] - seen[:, :8]).max() < 0.02  # both margins are empty: nothing sticks out
