"""One zygote and one undisturbed run for all tests of a session."""

import pytest

from tests.torture.kills import torture


@pytest.fixture(scope="session")
def tortured(tmp_path_factory):
    with torture(tmp_path_factory.mktemp("torture")) as one:
        yield one


@pytest.fixture(scope="session")
def undisturbed(tortured):
    """An undisturbed run: what it found, and the files it wrote, in order. Its root stays: ``folder/undisturbed``."""
    done = tortured.run(tortured.folder / "undisturbed")
    assert done["code"] == 0, done["error"]
    return done
