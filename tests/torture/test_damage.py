"""Any file of a finished root that is damaged or lost is named, and what comes after is as if nothing had happened."""

import shutil

import pytest

from flows.keeping.verify import verify
from tasks.store.storage import open_storage
from tests.torture.damage import DAMAGES, copy, kinds, spoil

HOW = "a bit flipped, seven bytes cut off, or deleted"
#: what a store of vectors or pairs has in it, beside the stage's own record: one that is lost costs model calls of later rounds at most;
#: and the notes that there is a pointer, which matter where the pointer is lost too
UNNAMED = ("manifests/vectors/", "manifests/pairs/", "pointers/embed/", "manifests/pointers/")
KIND = {"flip": "damaged", "cut": "damaged", "delete": "missing"}


@pytest.fixture
def finished(tortured, undisturbed, tmp_path):
    """A copy of a finished root, and one file of each kind in it."""
    root = copy(tortured.folder / "undisturbed", tmp_path / "root")
    assert verify(open_storage(str(root))).faults == ()
    return root, kinds(root)


def named(root, mend=False):
    return {(fault.name, fault.kind) for fault in verify(open_storage(str(root)), mend).faults}


@pytest.mark.fault("a file of each kind is damaged at once", f"{HOW}; records and pointers apart from what they name")
@pytest.mark.parametrize("records", [False, True], ids=["files", "records"])
def test_damage_everywhere_is_named_and_rebuilt(tortured, undisturbed, finished, record_property, records):
    root, files = finished
    expected = set()
    chosen = [name for name in files.values() if name.startswith(("manifests/", "pointers/")) == records]
    for number, name in enumerate(chosen):
        damage = DAMAGES[number % (2 if records else 3)]  # a lost record says nothing of what it named: see the next test
        spoil(root / name, damage)
        expected.add((name, KIND[damage]))
    record_property("tries", len(expected))
    assert expected - named(root, mend=True) == set(), "not named"
    again = tortured.run(root)
    assert again["code"] == 0, again["error"]
    assert again["found"] == undisturbed["found"]
    assert named(root) == set()


@pytest.mark.fault("one file of each kind is damaged", f"{HOW}; first `verify --mend`, then the same run")
@pytest.mark.slow
@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("damage", DAMAGES)
def test_each_kind_of_file_is_named_and_rebuilt(tortured, undisturbed, finished, record_property, tmp_path, damage):
    whole, files = finished
    record_property("tries", len(files))
    wrong = []
    for name in files.values():
        root = copy(whole, tmp_path / "one")
        spoil(root / name, damage)
        if (name, KIND[damage]) not in named(root, mend=True) and not (damage == "delete" and name.startswith(UNNAMED)):
            wrong.append(f"{name}: not named")
        again = tortured.run(root)
        if again["code"] or again["found"] != undisturbed["found"]:
            wrong.append(f"{name}: {again['error'] or again['found']}")
        wrong += [f"{name}: afterwards {fault}" for fault in named(root)]
        shutil.rmtree(root)
    assert not wrong, "\n".join(wrong)


@pytest.mark.fault("a damaged file is used", f"{HOW}, of each data file; all other stages compute anew; no `verify`")
@pytest.mark.slow
@pytest.mark.timeout(14_400)
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_damage_is_noticed_at_use_and_mended_by_the_next_run(tortured, undisturbed, finished, record_property, tmp_path, damage):
    whole, files = finished
    data = [name for name in files.values() if name.startswith("data/")]
    record_property("tries", len(data))
    wrong = []
    for name in data:
        root, stage = copy(whole, tmp_path / "one"), name.split("/")[1]
        spoil(root / name, damage)
        for folder in (root / "manifests").iterdir():
            if folder.name not in (stage, "pointers", "rounds", "reviews", "checkpoints"):
                shutil.rmtree(folder)
        for _ in range(3):
            again = tortured.run(root)
            if again["code"] == 0:
                break
            if "StorageError" not in again["error"] and "ModelError" not in again["error"]:
                wrong.append(f"{name}: {again['error']}")
        if again["found"] != undisturbed["found"]:
            wrong.append(f"{name}: {again['error'] or again['found']}")
        shutil.rmtree(root)
    assert not wrong, "\n".join(wrong)
