"""Rows of one dataset as a stream: in order, again from the first, capped by positive."""

import pyarrow as pa
import pytest

from tasks.errors import InputError
from tasks.mixture.stream import Stream, labelled
from tasks.store.storage import open_storage
from tests.retrieve.build import commit


def part(storage, index, rows):
    """Shards of one query partition; rows: (text, ids of the positives)."""
    data = pa.table({"anchor": [text for text, _ in rows], "positive": [text for text, _ in rows]})
    side = pa.table({"query_id": [text for text, _ in rows], "positive_ids": [ids for _, ids in rows]})
    return commit(storage, "shards", index, {f"data/train-{index}-00000.parquet": data, f"sidecar/train-{index}-00000.parquet": side})


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path))


def taken(stream, rows):
    data, side, _ = stream.take(rows)
    assert data["anchor"].to_pylist() == side["query_id"].to_pylist(), "a row and its sidecar stay together"
    return data["anchor"].to_pylist()


def test_rows_come_in_order_and_again_from_the_first(storage):
    parts = [part(storage, "q0000", [("a", ["1"]), ("b", ["2"])]), part(storage, "q0001", [("c", ["3"])])]
    stream = Stream(storage, parts, "d")
    assert stream.count()[:2] == (3, 0)
    assert [taken(stream, 2), taken(stream, 2), taken(stream, 5)] == [["a", "b"], ["c", "a"], ["b", "c", "a", "b", "c"]]


def test_a_positive_has_so_many_rows_in_a_pass(storage):
    parts = [part(storage, "q0000", [("a", ["1"]), ("b", ["1"]), ("c", ["2"])]), part(storage, "q0001", [("d", ["1"]), ("e", ["2", "1"])])]
    stream = Stream(storage, parts, "d", cap=2)
    assert stream.count()[:2] == (3, 2)
    assert taken(stream, 6) == ["a", "b", "c"] * 2


def test_a_pass_that_is_not_whole_has_many_queries_before_many_rows_of_one(storage):
    parts = [part(storage, "q0000", [("a", ["1"]), ("a", ["2"]), ("a", ["3"]), ("b", ["4"])]), part(storage, "q0001", [("c", ["5"])] * 2)]
    counted = Stream(storage, parts, "d").count()
    assert counted.places.tolist() == [3, 2, 1]
    stream = Stream(storage, parts, "d", counted=counted, wanted=4)
    assert taken(stream, 4) == ["a", "a", "b", "c"]
    stream = Stream(storage, parts, "d", counted=counted, wanted=9)
    assert [taken(stream, 6), taken(stream, 3)] == [["a", "a", "a", "b", "c", "c"], ["a", "b", "c"]]
    assert Stream(storage, parts, "d", counted=counted, wanted=9).take(9)[2].tolist() == [0] * 6 + [1] * 3


def test_a_dataset_without_rows_is_said(storage):
    with pytest.raises(InputError, match="dataset d: there is no training row of stage main"):
        Stream(storage, [part(storage, "q0000", [])], "d").count()


def test_rows_say_where_they_are_from():
    pairs = labelled(pa.table({"anchor": ["a"], "positive": ["p"]}), "d", "t")
    assert pairs.to_pylist() == [{"anchor": "a", "positive": "p", "dataset_name": "d"}]
    lists = labelled(pa.table({"query": ["a"], "docs": [["p"]]}), "d", "t")
    assert lists.to_pylist() == [{"query": "a", "docs": ["p"], "dataset": "d", "task": "t"}]
    lines = labelled(pa.table({"line": ['{"query": "ä"}']}), "d", "t")
    assert lines["line"].to_pylist() == ['{"query": "ä", "dataset": "d", "task": "t"}']


def test_sentence_transformers_takes_the_dataset_for_no_text(storage):
    """Its own collator pops dataset_name, and looks prompts up by it."""
    from sentence_transformers.sentence_transformer.data_collator import SentenceTransformerDataCollator

    seen = []
    collator = SentenceTransformerDataCollator(preprocess_fn=lambda texts, **_: seen.append(list(texts)) or {"input_ids": []})
    rows = labelled(pa.table({"anchor": ["a", "b"], "positive": ["p", "q"], "negative": ["n", "m"]}), "d", "t").to_pylist()
    batch = collator(rows)
    assert batch["dataset_name"] == "d"
    assert seen == [["a", "b"], ["p", "q"], ["n", "m"]]


def test_sentence_transformers_trainer_reads_the_batches_in_order(tmp_path):
    """As docs/bring.md says: its trainer refuses the column in a plain dataset, and shuffles unless it is told not to."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    from torch.utils.data import BatchSampler, SequentialSampler

    from tasks.models.location import packaged

    names = ["a", "a", "b", "b", "a", "a"]
    train = Dataset.from_dict({"anchor": [f"q{row}" for row in range(6)], "positive": ["p"] * 6, "dataset_name": names})
    model = SentenceTransformer(str(packaged()), device="cpu")
    given = {"output_dir": str(tmp_path), "per_device_train_batch_size": 2, "use_cpu": True, "report_to": "none"}
    with pytest.raises(ValueError, match="dataset_name"):
        SentenceTransformerTrainer(model, SentenceTransformerTrainingArguments(**given), train)

    def named(rows):
        return {"dataset_name" if name == "source" else name: values for name, values in rows.items()}

    def in_order(dataset, batch_size, drop_last, **_):
        return BatchSampler(SequentialSampler(dataset), batch_size, drop_last)

    train = train.rename_column("dataset_name", "source").with_transform(named)
    args = SentenceTransformerTrainingArguments(**given, batch_sampler=in_order, prompts={"a": {"anchor": "find: "}})
    batches = list(SentenceTransformerTrainer(model, args, train).get_train_dataloader())
    assert [batch["dataset_name"] for batch in batches] == ["a", "b", "a"]
    read = [model.tokenizer.batch_decode(batch["anchor_input_ids"], skip_special_tokens=True) for batch in batches]
    assert {text for batch in batches for text in model.tokenizer.batch_decode(batch["positive_input_ids"], skip_special_tokens=True)} == {
        "p"
    }
    assert read == [["find : q0", "find : q1"], ["q2", "q3"], ["find : q4", "find : q5"]]
