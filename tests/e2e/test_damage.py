"""Bytes that change on the disk: noticed, named, rebuilt."""

import json

import pytest

from tests.e2e.conftest import round_settings, shard_bytes


def flip(path):
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(bytes(data))


def faults(hardmine, *options, code):
    """(name, what) of each fault that verify finds."""
    out, _ = hardmine("verify", "--json", *options, code=code)
    return {(fault["name"], fault["kind"]) for fault in json.loads(out.splitlines()[-1])["faults"]}


@pytest.mark.fault("damage, by the command line", "seven files flipped, cut or deleted; `hardmine verify --mend`")
def test_what_was_damaged_is_found_and_rebuilt_to_the_same_bytes(hardmine, collection):
    run = hardmine.write(**round_settings(collection))
    first = hardmine.json("mine", run)
    expected = {name: shard_bytes(folder) for name, folder in first["selections"][0]["shards"].items()}
    root = hardmine.folder / "mining"
    assert faults(hardmine, code=0) == set()

    flipped = [
        next(root.glob(f"data/{stage}/**/{name}")) for stage, name in (("embed-documents", "vectors.npy"), ("scored", "scored.parquet"))
    ]
    flipped += [next(root.glob("manifests/candidates/parts/*.json")), root / "pointers/rounds/small.json"]
    flipped += [next(path for path in root.glob("data/shards/**/*.parquet"))]
    cut, gone = next(root.glob("data/documents/**/docs.parquet")), next(root.glob("data/retrieve-dense/**/*.parquet"))
    for path in flipped:
        flip(path)
    cut.write_bytes(cut.read_bytes()[:-10])
    gone.unlink()
    damaged = {(path.relative_to(root).as_posix(), "damaged") for path in [*flipped, cut]}
    found = damaged | {(gone.relative_to(root).as_posix(), "missing")}
    assert faults(hardmine, code=1) == found
    out, _ = hardmine("verify", "--mend", code=1)
    assert "damaged/" in out

    again = hardmine.json("mine", run)
    assert again["round"] == first["round"]
    assert {name: shard_bytes(folder) for name, folder in again["selections"][0]["shards"].items()} == expected
    assert faults(hardmine, code=0) == set()


@pytest.mark.fault("damage without `verify`, by the command line", "a bit of stored vectors flipped; a deeper run reads them")
def test_a_flipped_bit_is_met_at_use_and_the_next_run_mends_it(hardmine, collection):
    """Without verify: a stage that reads the file refuses it, names it and sets it aside."""
    first = hardmine.json("mine", hardmine.write(**round_settings(collection)))
    root = hardmine.folder / "mining"
    vectors = next(root.glob("data/embed-documents/**/vectors.npy"))
    flip(vectors)
    deeper = hardmine.write("deeper.yaml", **round_settings(collection, retrieve={"dense": {"top_k": 140}, "bm25": {"top_k": 20}}))
    _, err = hardmine("mine", deeper, code=1)
    assert f"{vectors.relative_to(root).as_posix()} was damaged" in err.replace("\n", "")
    assert hardmine.json("mine", deeper)["round"] == "small/2"
    assert hardmine.json("mine", hardmine.folder / "run.yaml")["candidate_set_id"] == first["candidate_set_id"]
