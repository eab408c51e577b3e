import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.errors import GateError, UsageError
from tasks.shards.formats.registry import FORMATS, format_named
from tasks.shards.settings import ShardSettings
from tasks.shards.stage import STAGE, folder_of
from tasks.store.tables import local_file

A, B, C, D, E = "T0 alpha", "beta", "T2 gamma", "delta", "T4 epsilon"


def said(text):
    return [{"role": "assistant", "content": text}]


EXPECTED = {
    "triplet": {
        "anchor": ["zero?", "zero?", "one?", "zero?", "zero?"],
        "positive": [A, A, C, B, B],
        "negative": [C, D, E, C, D],
    },
    "n-tuple": {"anchor": ["zero?", "zero?"], "positive": [A, B], "negative_1": [C, C], "negative_2": [D, D]},
    "labeled-pair": {
        "anchor": ["zero?", "zero?", "zero?", "zero?", "one?", "one?", "two?"],
        "positive": [A, B, C, D, C, E, E],
        "label": [1, 1, 0, 0, 1, 0, 1],
    },
    "labeled-list": {
        "anchor": ["zero?", "one?", "zero?"],
        "positive": [[A, C, D], [C, E], [B, C, D]],
        "labels": [[1, 0, 0], [1, 0], [1, 0, 0]],
    },
    "flagembedding": {
        "query": ["zero?", "one?"],
        "pos": [[A, B], [C]],
        "neg": [[C, D], [E]],
        "pos_scores": [[0.9, 0.8], [0.9]],
        "neg_scores": [[0.75, 0.5], [0.5]],
        "prompt": ["", ""],
        "type": ["normal", "normal"],
    },
    "tevatron": {
        "query_id": ["q0", "q1"],
        "query": ["zero?", "one?"],
        "positive_passages": [
            [{"docid": "a", "title": "T0", "text": "alpha"}, {"docid": "b", "title": "", "text": "beta"}],
            [{"docid": "c", "title": "T2", "text": "gamma"}],
        ],
        "negative_passages": [
            [{"docid": "c", "title": "T2", "text": "gamma"}, {"docid": "d", "title": "", "text": "delta"}],
            [{"docid": "e", "title": "T4", "text": "epsilon"}],
        ],
    },
    "listwise": {
        "query_id": ["q0", "q1"],
        "query": ["zero?", "one?"],
        "doc_ids": [["a", "b", "c", "d"], ["c", "e"]],
        "docs": [[A, B, C, D], [C, E]],
        "teacher_scores": [[9.0, 8.0, 7.5, None], [9.0, 5.0]],
        "dense_scores": [[0.9, 0.8, 0.75, 0.5], [0.9, 0.5]],
        "labels": [[1.0, 1.0, 0.0, 0.0], [1.0, 0.0]],
    },
}
EXPECTED |= {
    "tevatron-ids": {
        "query_id": ["q0", "q1"],
        "query": ["zero?", "one?"],
        "query_text": ["zero?", "one?"],
        "positive_document_ids": [["a", "b"], ["c"]],
        "negative_document_ids": [["c", "d"], ["e"]],
    },
    "ids": {"query_id": ["q0", "q1"], "positive_ids": [["a", "b"], ["c"]], "negative_ids": [["c", "d"], ["e"]]},
    "trec-run": {"lines": ["q0 Q0 c 1 0.75 hardmine", "q0 Q0 d 2 0.5 hardmine", "q1 Q0 e 1 0.5 hardmine"]},
    "trec-qrels": {"lines": ["q0 0 a 3", "q0 0 b 1", "q1 0 c 1", "q2 0 e 1"]},
    "swift": {
        "messages": [[{"role": "user", "content": text}] for text in ("zero?", "one?", "zero?")],
        "positive_messages": [[said(A)], [said(C)], [said(B)]],
        "negative_messages": [[said(C), said(D)], [said(E)], [said(C), said(D)]],
    },
    "llamaindex": {
        "queries": [{"q0": "zero?", "q1": "one?", "q2": "two?"}],
        "corpus": [{"a": A, "b": B, "c": C, "d": D, "e": E}],
        "relevant_docs": [{"q0": ["a", "b"], "q1": ["c"], "q2": ["e"]}],
        "mode": ["text"],
        "hard_negatives": [{"q0": ["c", "d"], "q1": ["e"], "q2": []}],
    },
    "llamaindex-rerank": {"query": ["zero?", "one?"], "relevant_passages": [[A, B], [C]], "hard_negatives": [[C, D], [E]]},
}
DROPPED = {"n-tuple": 2, "labeled-pair": 0, "trec-qrels": 0, "llamaindex": 0}  # the others: 1
ROWS = {"trec-run": 2, "trec-qrels": 3, "llamaindex": 3}  # queries; the others: lines


def near(value):
    """Floats rounded, at any depth: scores are float32."""
    if isinstance(value, dict):
        return {name: near(item) for name, item in value.items()}
    if isinstance(value, list):
        return [near(item) for item in value]
    return round(value, 5) if isinstance(value, float) else value


def rows_of(path) -> list[dict]:
    match path.suffix:
        case ".parquet":
            return pq.read_table(path).to_pylist()
        case ".jsonl":
            return [json.loads(line) for line in path.read_text().splitlines()]
        case ".json":
            return [json.loads(path.read_text())]
        case _:
            return [{"lines": line} for line in path.read_text().splitlines()]


def read(world, manifest, prefix="data/") -> dict:
    columns: dict = {}
    for record in manifest.parts[0].files:
        if record.name.startswith(prefix):
            for row in rows_of(local_file(world.storage, record)):
                for name, value in row.items():
                    columns.setdefault(name, []).append(value)
    return near(columns)


@pytest.mark.parametrize("name", [known.name for known in FORMATS])
def test_each_format_by_hand(world, name):
    manifest = world.write(name, num_negatives=2)
    found = read(world, manifest)
    assert list(found) == list(EXPECTED[name])
    assert found == EXPECTED[name]
    meta = manifest.parts[0].meta
    rows = ROWS.get(name, len(next(iter(found.values()))))
    assert (meta["rows"], meta["anchors"], meta["dropped_short"]) == (rows, 4, DROPPED.get(name, 1))
    assert len(read(world, manifest, "sidecar/")["query_id"]) == rows


def test_sidecar_is_row_aligned(world):
    side = read(world, world.write("labeled-list"), "sidecar/")
    assert side == {
        "query_id": ["q0", "q1", "q0"],
        "positive_ids": [["a"], ["c"], ["b"]],
        "negative_ids": [["c", "d"], ["e"], ["c", "d"]],
        "dense_scores": [[0.9, 0.75, 0.5], [0.9, 0.5], [0.8, 0.75, 0.5]],
        "teacher_logits": [[9.0, 7.5, None], [9.0, 5.0], [8.0, 7.5, None]],
        "labels": [[1.0, 0.0, 0.0], [1.0, 0.0], [1.0, 0.0, 0.0]],
        "weights": [[1.0, 1.0, 1.0], [1.0, 1.0], [1.0, 1.0, 1.0]],
        "suspected_ids": [["e"], [], ["e"]],
    }
    pair = read(world, world.write("labeled-pair"), "sidecar/")
    assert pair["positive_ids"] == [["a"], ["b"], [], [], ["c"], [], ["e"]]
    assert pair["negative_ids"] == [[], [], ["c"], ["d"], [], ["e"], []]


def test_output_scores_drop_what_has_none(world):
    triplet = world.write("triplet", output_scores=True, score="teacher_logit")
    assert read(world, triplet)["scores"] == [[9.0, 7.5], [9.0, 5.0], [8.0, 7.5]]
    assert triplet.parts[0].meta["dropped_unscored"] == 3  # d twice, and the positive of q2
    assert read(world, world.write("labeled-pair", output_scores=True))["score"] == [0.9, 0.8, 0.75, 0.5, 0.9, 0.5, 0.4]
    assert read(world, world.write("n-tuple", num_negatives=2, output_scores=True))["scores"] == [[0.9, 0.75, 0.5], [0.8, 0.75, 0.5]]
    assert read(world, world.write("labeled-list", output_scores=True))["scores"] == [[0.9, 0.75, 0.5], [0.9, 0.5], [0.8, 0.75, 0.5]]


def test_missing_scores_are_null_and_counted_in_flagembedding(world):
    manifest = world.write("flagembedding", score="teacher_logit", query_prompt="find: ")
    found = read(world, manifest)
    assert found["neg_scores"] == [[7.5, None], [5.0]]
    assert found["prompt"] == ["find: ", "find: "]
    assert manifest.parts[0].meta["rows_without_scores"] == 1


def test_other_negatives_for_each_positive_stay_apart(world):
    apart = world.with_rows([(0, "a", "c"), (0, "b", "d"), (0, "e", "c")])
    found = read(world, apart.write("flagembedding"))
    assert (found["pos"], found["neg"]) == ([[A, E], [B]], [[C], [D]])
    assert read(world, apart.write("labeled-pair"))["positive"] == [A, B, E, C, D]


def test_rows_are_cut_into_files_of_a_size(world):
    manifest = world.write("triplet", rows_per_shard=2)
    names = [record.name for record in manifest.parts[0].files]
    assert names == [f"{side}/train-q0000-0000{n}.parquet" for n in range(3) for side in ("data", "sidecar")]
    assert [record.rows for record in manifest.parts[0].files] == [2, 2, 2, 2, 1, 1]
    assert read(world, manifest) == EXPECTED["triplet"]
    assert read(world, manifest, "sidecar/")["negative_ids"] == [["c"], ["d"], ["e"], ["c"], ["d"]]


def test_training_stages_have_folders_of_their_own(world):
    manifest = world.with_rows([(0, "a", "c")], (("main", 0), ("late", 0), ("late", 2))).write("triplet")
    assert [record.name for record in manifest.parts[0].files if record.name.startswith("data")] == [
        "data-late/train-q0000-00000.parquet",
        "data-late-2/train-q0000-00000.parquet",
        "data/train-q0000-00000.parquet",
    ]


def test_a_partition_without_rows_writes_nothing(world):
    empty = world.with_rows([(2, "e", "")])
    for known in FORMATS:
        files = empty.write(known.name).parts[0].files
        assert len(files) == (2 if known.name in ("labeled-pair", "trec-qrels", "llamaindex") else 0), known.name


def test_title_template(world):
    assert read(world, world.write("triplet", document_template="{title}: {text}"))["negative"] == [
        "T2: gamma",
        D,
        "T4: epsilon",
        "T2: gamma",
        D,
    ]
    with pytest.raises(ValueError, match="takes"):
        ShardSettings(document_template="{title!r} {text}")


def test_folder_follows_everything_that_changes_the_bytes(world):
    jobs = {name: world.jobs(name) for name in ("triplet", "n-tuple")}
    assert folder_of(jobs["triplet"]).startswith("data/shards/selection012-triplet-")
    other = world.jobs("triplet", document_template="{text}")
    assert len({folder_of(jobs["triplet"]), folder_of(jobs["n-tuple"]), folder_of(other)}) == 3
    assert jobs["triplet"][0].key(STAGE) != other[0].key(STAGE)
    manifest = world.write("triplet")
    assert all(record.path.startswith(folder_of(jobs["triplet"]).removesuffix("data")) for record in manifest.parts[0].files)


def test_wrong_names_are_refused(world):
    with pytest.raises(UsageError, match="did you mean 'triplet'"):
        format_named("triplets")
    with pytest.raises(UsageError, match="no_such_score"):
        world.write("triplet", score="no_such_score")


def test_broken_slots_are_refused(world):
    from tasks.shards.material import check_slots

    with pytest.raises(GateError, match="'q0'"):
        check_slots(pa.table({"slot": [0, 2], "row_no": [0, 0], "query_id": ["q0", "q0"]}))


ROWWISE = [known for known in FORMATS if known.extension in ("parquet", "jsonl")]  # the others are no tables to their readers


@pytest.mark.parametrize("known", ROWWISE, ids=lambda known: known.name)
def test_load_dataset_reads_the_folder(world, known, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", True)
    world.write(known.name, num_negatives=2, rows_per_shard=1)
    folder = Path(world.storage.root) / folder_of(world.jobs(known.name, num_negatives=2, rows_per_shard=1))
    kind = "json" if known.extension == "jsonl" else "parquet"
    loaded = datasets.load_dataset(kind, data_files=f"{folder}/*.{known.extension}", split="train", cache_dir=str(tmp_path / "cache"))
    assert near(loaded.to_dict()) == EXPECTED[known.name]
    whole = datasets.load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache2"))
    assert near(whole.to_dict()) == EXPECTED[known.name]


def sums(manifest):
    return {record.name: record.checksum for record in manifest.parts[0].files}


@pytest.mark.parametrize("name", [known.name for known in ROWWISE])
def test_rows_of_queries_that_must_not_be_trained_on_are_left_out(world, name):
    plain, divided = (one.write(name, num_negatives=1) for one in (world, world.with_splits("dev", "Train", "test")))
    queries, left = read(world, plain, "sidecar/")["query_id"], read(world, divided, "sidecar/")["query_id"]
    assert left == [query for query in queries if query == "q1"]
    assert "zero?" not in json.dumps(read(world, divided))
    whole = read(world, plain)
    assert read(world, divided) == {
        column: [value for q, value in zip(queries, whole[column], strict=True) if q == "q1"] for column in whole
    }
    meta = divided.parts[0].meta
    assert (meta["anchors"], meta["left_out"], meta["of_split"]) == (1, {"dev": 1, "test": 1}, {})  # q0 has two rows, q2 one


@pytest.mark.parametrize("name", [known.name for known in FORMATS])
def test_files_of_queries_without_a_split_or_of_train_are_the_same(world, name):
    plain = world.write(name)
    assert sums(world.with_splits("train", None, "train").write(name)) == sums(plain)
    assert (plain.parts[0].meta["left_out"], plain.parts[0].meta["of_split"]) == ({}, {})


def test_the_split_that_was_asked_for_is_written(world):
    asked = world.with_splits("test", "test", "test").write("triplet", split="test")
    assert sums(asked) == sums(world.write("triplet"))
    assert (asked.parts[0].meta["left_out"], asked.parts[0].meta["of_split"]) == ({}, {"test": 3})
    mixed = world.with_splits("test", "dev", None).write("labeled-pair", split="Test")
    assert set(read(world, mixed, "sidecar/")["query_id"]) == {"q0", "q2"}
    assert (mixed.parts[0].meta["left_out"], mixed.parts[0].meta["of_split"]) == ({"dev": 1}, {"test": 1})


def test_nothing_is_written_where_no_query_may_be_trained_on(world):
    manifest = world.with_splits("test", "dev", "calibration").write("triplet")
    assert manifest.parts[0].files == ()
    assert manifest.parts[0].meta["left_out"] == {"calibration": 1, "dev": 1, "test": 1}
