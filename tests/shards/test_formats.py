"""Formats of ids and lists: what stands beside them, what they refuse, and one file of several."""

import json

import pyarrow.parquet as pq
import pytest

from tasks.errors import InputError
from tasks.shards.export import export
from tasks.shards.formats.registry import format_named
from tests.shards.conftest import SCORES
from tests.shards.test_shards import A, B, C, D, E, read

JOINED = ("trec-run", "trec-qrels", "llamaindex")


def test_each_text_stands_once_beside_ids(world):
    manifest = world.write("ids")
    assert read(world, manifest, "lookup/documents") == {"doc_id": list("abcde"), "text": [A, B, C, D, E]}
    assert read(world, manifest, "lookup/queries") == {"query_id": ["q0", "q1"], "text": ["zero?", "one?"]}
    assert read(world, world.write("tevatron-ids"), "lookup/") == {"docid": list("abcde"), "text": [A, B, C, D, E]}


def test_ids_and_lookup_give_the_texts_of_the_other_formats(world):
    """A round trip: ids joined with their lookup are FlagEmbedding's texts."""
    manifest = world.write("ids")
    ids, lookup = read(world, manifest), read(world, manifest, "lookup/documents")
    texts = dict(zip(lookup["doc_id"], lookup["text"], strict=True))
    whole = read(world, world.write("flagembedding"))
    assert [[texts[one] for one in row] for row in ids["positive_ids"]] == whole["pos"]
    assert [[texts[one] for one in row] for row in ids["negative_ids"]] == whole["neg"]


def test_a_run_goes_by_score_with_ties_by_id_and_holds_each_negative_once(world):
    """The recipe's order is d, c and, for the other positive, e, c: trec_eval would go by the scores whatever the ranks say."""
    lines = read(world, world.with_rows([(0, "a", "dc"), (0, "b", "ec")]).write("trec-run"))["lines"]
    assert [line.split()[2:4] for line in lines] == [["c", "1"], ["e", "2"], ["d", "3"]]
    scores = [float(line.split()[4]) for line in lines]
    assert scores == sorted(scores, reverse=True) == pytest.approx([SCORES[0, "c"], SCORES[0, "e"], SCORES[0, "d"]])


def test_files_of_queries_leave_out_other_splits(world):
    divided = world.with_splits("dev", "train", "test")
    assert read(world, divided.write("trec-run"))["lines"] == ["q1 Q0 e 1 0.5 hardmine"]
    assert read(world, divided.write("trec-qrels"))["lines"] == ["q1 0 c 1"]
    assert read(world, divided.write("llamaindex"))["queries"] == [{"q1": "one?"}]


def test_trec_files_refuse_ids_with_blanks():
    import pyarrow as pa

    run, qrels = format_named("trec-run"), format_named("trec-qrels")
    for name in ("a b", "a\tb", "", " a", "a\u00a0b"):
        with pytest.raises(InputError, match="white space"):
            run.encode(pa.table({"query_id": [name], "doc_ids": [["d"]], "scores": [[1.0]]}))
        with pytest.raises(InputError, match="white space"):
            qrels.encode(pa.table({"query_id": ["q"], "doc_ids": [[name]], "relevance": [[1]]}))


@pytest.mark.parametrize("name", [*JOINED, "ids", "tevatron-ids", "triplet"])
def test_exports_of_two_partitions(world, tmp_path, name):
    """Two parts, here of the same rows under other names: one file where a trainer takes one, and each text once."""
    first = world.write(name).parts[0]
    renamed = [replace_name(file, "q0000", "q0001") for file in first.files]
    parts = [first, first.model_copy(update={"index": "q0001", "files": tuple(renamed)})]
    written = [path.relative_to(tmp_path / "out").as_posix() for path in export(world.storage, parts, format_named(name), tmp_path / "out")]
    if name in JOINED:
        assert written == [f"train.{format_named(name).extension}", "sidecar/train.parquet"]
        assert len(pq.read_table(tmp_path / "out/sidecar/train.parquet")) == 2 * first.meta["rows"]
    else:
        ending = format_named(name).extension
        data = [f"train-q000{number}-00000.{ending}" for number in (0, 1)]
        lookup = {"ids": ["lookup/documents.parquet", "lookup/queries.parquet"], "tevatron-ids": ["lookup/corpus.jsonl"]}.get(name, [])
        assert written == [*data, *lookup, *(f"sidecar/train-q000{number}-00000.parquet" for number in (0, 1))]
    if name == "llamaindex":
        assert json.loads((tmp_path / "out/train.json").read_text()) == {
            field: values[0] for field, values in read(world, world.write(name)).items()
        }
    if name == "trec-run":
        assert (tmp_path / "out/train.trec").read_text().splitlines() == 2 * read(world, world.write(name))["lines"]
    if name == "ids":
        assert pq.read_table(tmp_path / "out/lookup/documents.parquet")["doc_id"].to_pylist() == list("abcde")
    if name == "tevatron-ids":
        rows = [json.loads(line) for line in (tmp_path / "out/lookup/corpus.jsonl").read_text().splitlines()]
        assert [row["docid"] for row in rows] == list("abcde")


@pytest.mark.parametrize("name", ["triplet", "tevatron", "tevatron-ids", "ids"])
def test_load_dataset_of_an_exported_folder_reads_its_rows_alone(world, tmp_path, name):
    """Sidecars and lookups lie below it, and there may be more of them: without a head ``datasets`` would read those."""
    from datasets import load_dataset

    export(world.storage, world.write(name).parts, format_named(name), tmp_path / "out")
    loaded = load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.to_dict() == read(world, world.write(name))


def test_stages_of_a_curriculum_are_folders_of_their_own(world, tmp_path):
    late = world.with_rows([(0, "a", "c")], stages=(("main", 0), ("late", 2)))
    written = export(world.storage, late.write("ids").parts, format_named("ids"), tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in written if path.name.startswith("train")] == [
        "data-late-2/train-q0000-00000.parquet",
        "train-q0000-00000.parquet",
        "sidecar/train-q0000-00000.parquet",
        "sidecar-late-2/train-q0000-00000.parquet",
    ]
    assert (tmp_path / "lookup-late-2/documents.parquet").exists()


def replace_name(file, old, new):
    return file.model_copy(update={"name": file.name.replace(old, new)})
