"""A disk that is full, read-only or broken: a clear error, and a later run that completes."""

import re

import pytest

from tests.torture.damage import copy

CLEAR = re.compile(r"^tasks\.errors\.(\w+Error)|^tasks\.store\.seal\.Damaged", re.MULTILINE)
TMPFS = "a tmpfs of this many MB under the root, made large for the second run"


def survives(tortured, undisturbed, said, **how):
    """Two runs on one root: the first ends with a clear error, the second as if nothing had happened. Gives the first one's complaint."""
    root = how.pop("root", None) or tortured.folder / f"disk-{'-'.join(str(value) for value in how.values()).replace(' ', '-')}"
    done = tortured.run(root, **how)
    if done["first"].startswith("skip"):
        pytest.skip(done["first"])
    if how["disk"] in ("full", "read-only"):
        assert done["first"] == "1", "it must have ended"
    if done["first"] != "0":
        assert CLEAR.search(done["first_error"]), done["first_error"]
        assert re.search(said, done["first_error"]), done["first_error"]
    first_error = done["first_error"]
    if how["disk"] == "short reads" and done["code"] and "was damaged" in done["error"]:  # what was read short was written so, and named
        done = tortured.run(root)
    assert done["code"] == 0, done["error"]
    assert done["found"] == undisturbed["found"]
    return first_error


@pytest.mark.fault("no space left", f"{TMPFS}: 0.1 to 14")
@pytest.mark.parametrize("room", [2.5, *(pytest.param(mb, marks=pytest.mark.slow) for mb in (0.1, 0.5, 1, 1.5, 2, 3, 4, 6, 8, 11, 14))])
def test_a_full_disk(tortured, undisturbed, room):
    error = survives(tortured, undisturbed, "No space left|disk is full|not enough space", disk="full", room=int(room * 2**20))
    assert "space" in error


@pytest.mark.fault(
    "read-only root", "a read-only bind mount over a finished root, an empty one, and one whose run was killed; writable for the second run"
)
@pytest.mark.parametrize("files", [None, pytest.param(0, marks=pytest.mark.slow), pytest.param(150, marks=pytest.mark.slow)])
def test_a_read_only_root(tortured, undisturbed, tmp_path, files):
    root = tmp_path / "root"
    if files is None:
        copy(tortured.folder / "undisturbed", root)
    elif files:
        tortured.run(root, at=files)
    error = survives(tortured, undisturbed, "Read-only file system", root=root, disk="read-only")
    assert "choose a root that can be written" in error


@pytest.mark.fault("read and write errors", "EIO from a share of the openings of files under the root, in a patched layer of Python's")
@pytest.mark.slow
@pytest.mark.parametrize("share", [0.3, 0.1, 0.03, 0.01, 0.003])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_errors_of_the_disk(tortured, undisturbed, share, seed):
    survives(tortured, undisturbed, "Input/output error", disk="errors", share=share, seed=seed)


@pytest.mark.fault("short reads", "half of the bytes from a share of the openings of files under the root, in a patched layer of Python's")
@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.03, 0.01])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_short_reads(tortured, undisturbed, share, seed):
    survives(tortured, undisturbed, "damaged|missing|gone|Input/output error", disk="short reads", share=share, seed=seed)
