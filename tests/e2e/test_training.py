"""A checkpoint from a round's negatives, and its measure on queries that none was trained on: through the command line."""

from tests.e2e.conftest import round_settings

SPLITS = {"train": 0.6, "dev": 0.2, "test": 0.2}


def test_train_and_evaluate(hardmine, collection):
    settings = round_settings(collection, recipe="top", retrieve={"dense": {"top_k": 100}}, formats=["triplet"])
    settings["dataset"]["splits"] = SPLITS
    hardmine.json("mine", hardmine.write(**settings))
    before = hardmine.json("evaluate", "small/1", "--split", "test")
    train = ("train", "small/1", "--set", "batch_size=8", "--set", "max_length=64", "--set", "dtype=float32")
    trained = hardmine.json(*train, "--out", "new")
    facts = trained["facts"]
    assert facts["steps"] == -(-facts["samples"] // 8)
    assert 0 < facts["queries"] < 48
    assert facts["left_out"]["test"] > 0
    card = (hardmine.folder / "new/README.md").read_text()
    assert "small/1" in card
    assert "top" in card
    assert (hardmine.folder / "new/model.safetensors").exists()
    after = hardmine.json("evaluate", "small/1", "--model", "new", "--split", "test", "--reread-test")
    assert (before["read"], after["read"]) == (1, 2)
    assert after["queries"] == before["queries"] > 0
    assert set(after["measures"]) == {"nDCG@10", "MRR@10", "Recall@100"}
    assert all(0 < values["low"] <= values["mean"] <= values["high"] <= 1 for values in after["measures"].values())
    assert all(loss > 0 for _, loss in facts["losses"])
    _, err = hardmine("evaluate", "small/1", "--split", "train", code=2)
    assert "train" in err
    assert hardmine.json(*train)["facts"]["seconds"] == facts["seconds"]  # from the cache
    assert "is not empty" in hardmine("train", "small/1", "--out", "new", code=2)[1]


def test_the_new_checkpoint_mines_the_next_round(hardmine, collection):
    settings = round_settings(collection, recipe="top", formats=["triplet"])
    hardmine.json("mine", hardmine.write(**settings))
    hardmine.json("train", "small/1", "--set", "batch_size=16", "--set", "max_length=64", "--out", "next")
    result = hardmine.json("mine", hardmine.folder / "run.yaml", "--set", "model.path=next")
    assert result["number"] == 2
