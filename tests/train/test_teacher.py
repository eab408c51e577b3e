import os

import pyarrow as pa
import pytest

from tasks.errors import InputError, ModelError, UsageError
from tasks.models.cross_encoder import CrossEncoder
from tasks.models.fingerprint import teacher_spec
from tasks.models.location import packaged
from tasks.models.materialise import materialise
from tasks.models.settings import TeacherSettings
from tasks.runner.runner import run_job
from tasks.schema import DOCS, QUERIES
from tasks.schema import candidates as candidates_schema
from tasks.store.keys import input_hash, norm_hash
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.storage import open_storage
from tasks.train.teacher import STAGE, jobs

WORDS = ["apple", "river", "engine", "violin", "planet", "candle", "tiger", "bridge", "winter", "pepper", "ladder", "mirror"]


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    """A real, tiny encoder with random weights and the packaged tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("body")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(
            BertConfig(
                vocab_size=30522, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, initializer_range=0.1
            )
        ).save_pretrained(folder)
    AutoTokenizer.from_pretrained(packaged()).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path / "root"))


def write(storage, stage, index, name, rows, schema):
    out = Output(storage, f"data/{stage}/{index}")
    out.table(name, pa.table(list(map(list, zip(*rows, strict=True))), schema=schema))
    return Part(stage=stage, key=index, index=index, files=tuple(out.files))


@pytest.fixture
def world(storage):
    """A query is one word, the relevant document says it too."""
    documents = [
        (f"d{n:02d}", "", f"all about the {word}", None, None, n, input_hash("", f"{n}"), norm_hash(word)) for n, word in enumerate(WORDS)
    ]
    docs = [write(storage, "documents", "d0000", "docs.parquet", documents, DOCS)]
    queries, tables = [], []
    for number in range(2):
        asked = [
            (f"q{number}{n:02d}", f"where is {word}", [], word, None, None, n, input_hash("", f"q{number}{n}"), "")
            for n, word in enumerate(WORDS)
        ]
        queries.append(write(storage, "queries", f"q000{number}", "queries.parquet", asked, QUERIES))
        rows = []
        for n in range(len(WORDS)):
            for d in range(len(WORDS)):
                mine = d == n
                place = (f"q{number}{n:02d}", f"d{d:02d}", n, 0, d, 1 if mine else None, mine, False, None)
                rows.append((*place, input_hash("", f"q{number}{n}"), input_hash("", f"{d}"), d + 1, 0.5))
        tables.append(write(storage, "candidates", f"q000{number}", "candidates.parquet", rows, candidates_schema(["dense"])))
    return tables, queries, docs


def settings(body, **training):
    train = {
        "body": body,
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "max_length": 24,
        "holdout": 0.3,
        "negatives": 4,
        "random_negatives": 0,
        "dtype": "float32",
        **training,
    }
    return TeacherSettings.model_validate({"train": train, "max_length": 24, "dtype": "float32", "device": "cpu"})


def train(storage, world, given, report=lambda _: None):
    (job,) = jobs(storage, *world, given, ["dense"])
    return job, run_job(storage.root, STAGE, job, report)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_same_bytes_every_time_whatever_the_worker(storage, world, body, dtype, monkeypatch, tmp_path):
    told = []
    job, first = train(storage, world, settings(body, dtype=dtype), told.append)
    assert sum(told) == job.units == 2 * -(-first.meta["pairs"] // 8)
    monkeypatch.setenv("HARDMINE_WORKER_CORES", "1")
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    (tmp_path / "root/manifests/train-teacher/parts" / f"{first.key}.json").unlink()
    try:
        _, again = train(storage, world, settings(body, dtype=dtype))
    finally:
        os.sched_setaffinity(0, cores)
    assert [(file.name, file.checksum) for file in again.files] == [(file.name, file.checksum) for file in first.files]
    assert first.meta == again.meta
    assert {file.name for file in first.files} >= {"model/config.json", "model/model.safetensors", "model/tokenizer.json"}
    assert first.meta["pairs"] + first.meta["holdout_pairs"] == 24 * 5


@pytest.mark.parametrize("split", ["dev", "test", "calibration"])
def test_labels_of_held_out_queries_change_no_byte(storage, body, split, tmp_path):
    """Queries q1… are held out: with other labels, and with rows that are there only since they are labelled, the model is the same."""
    docs = [(f"d{n:02d}", "", f"all about the {word}", None, None, n, input_hash("", f"{n}"), "") for n, word in enumerate(WORDS)]
    documents = [write(storage, "documents", "d0000", "docs.parquet", docs, DOCS)]
    held = []
    for number, named in enumerate(("train", split)):
        asked = [
            (f"q{number}{n:02d}", f"where is {w}", [], w, named, None, n, input_hash("", f"q{number}{n}"), "") for n, w in enumerate(WORDS)
        ]
        held.append(write(storage, "queries", f"q000{number}", "queries.parquet", asked, QUERIES))

    def rows(number, label, deep):
        for n in range(len(WORDS)):
            for d in range(len(WORDS)):
                mine, rank = d == (n + label) % len(WORDS), (d - n) % len(WORDS) + 1
                if rank <= 8 or (mine and deep):  # beyond rank 8 a document is a row only as it is labelled
                    place = (f"q{number}{n:02d}", f"d{d:02d}", n, 0, d, 1 if mine else None, mine, False, None)
                    yield (*place, input_hash("", f"q{number}{n}"), input_hash("", f"{d}"), rank if rank <= 8 else None, 0.5)

    def trained(name, label):
        tables = [
            write(storage, f"candidates-{name}", f"q000{n}", "candidates.parquet", list(rows(n, shift, True)), candidates_schema(["dense"]))
            for n, shift in ((0, 0), (1, label))
        ]
        (job,) = jobs(storage, tables, held, documents, settings(body, random_negatives=2, epochs=1), ["dense"])
        done = run_job(storage.root, STAGE, job, lambda _: None)
        return [(file.name, file.checksum) for file in done.files], done.meta

    first = trained("first", 0)
    assert trained("others", 3) == first
    assert trained("deep", 10) == first  # twelve rows more
    assert first[1]["positives"] + first[1]["holdout_pairs"] >= 12


def test_the_model_loads_and_has_learnt(storage, world, body):
    from sentence_transformers import CrossEncoder as Plain

    _, done = train(storage, world, settings(body, epochs=12))
    assert done.meta["loss_after"] < done.meta["loss_before"]
    folder = materialise(storage, done)
    assert str(folder).startswith(storage.root)
    assert Plain(str(folder), device="cpu").num_labels == 1
    teacher = CrossEncoder(teacher_spec(settings(body), folder))
    scores = teacher.score([("where is tiger", "all about the tiger"), ("where is tiger", "all about the ladder")]).logits
    assert scores.dtype == "float32"
    assert str(storage.root).encode() not in b"".join(file.read_bytes() for file in folder.iterdir())


def test_frozen_layers_stay(storage, world, body):
    from safetensors.numpy import load_file

    _, done = train(storage, world, settings(body, frozen_layers=1))
    after = load_file(materialise(storage, done) / "model.safetensors")
    before = load_file(f"{body}/model.safetensors")
    for name, weight in after.items():
        if name.startswith(("bert.embeddings", "bert.encoder.layer.0")):
            assert (weight == before[name.removeprefix("bert.")]).all()
    last = "encoder.layer.1.output.dense.weight"
    assert (after[f"bert.{last}"] != before[last]).any()
    with pytest.raises(ModelError, match="freeze 1 at most"):
        train(storage, world, settings(body, frozen_layers=2))


def test_wrong_use(storage, world, body):
    with pytest.raises(UsageError):
        jobs(storage, *world, TeacherSettings(path=body), ["dense"])
    with pytest.raises(InputError, match="no labelled pairs"):
        jobs(storage, *world, settings(body, min_rank=500, max_rank=600), ["dense"])


def test_what_is_in_the_key(storage, world, body):
    def key(given):
        return jobs(storage, *world, given, ["dense"])[0].key(STAGE)

    assert key(settings(body)) == key(settings(body))
    assert key(settings(body)) != key(settings(body, seed=1))
    assert key(settings(body)) != key(settings(body).model_copy(update={"prompt": "q: "}))


def test_several_teachers_where_they_cost_little_against_the_scoring(storage, world, body):
    given = settings(body, folds="auto")
    trained = jobs(storage, *world, given, ["dense"])[0].units * 8 / 2  # full batches of 8 an epoch, two epochs: about the pairs
    enough = int(2 * 3 * 3 * 2 * trained) + 400  # 3 teachers, a step as dear as 3 passes, 2 epochs, half of the scoring
    assert [job.index for job in jobs(storage, *world, given, ["dense"], enough)] == ["teacher.0", "teacher.1", "teacher.2"]
    assert [job.index for job in jobs(storage, *world, given, ["dense"], 100)] == ["teacher"]
    assert [job.index for job in jobs(storage, *world, settings(body, folds=2), ["dense"], 0)] == ["teacher.0", "teacher.1"]


def test_random_documents_are_trained_on_and_not_measured(storage, world, body):
    wide = {"negatives": 1, "max_rank": 12, "random_negatives": 3}
    _, done = train(storage, world, settings(body, **wide))
    without = train(storage, world, settings(body, **{**wide, "random_negatives": 0}))[1]
    assert done.meta["holdout_pairs"] == without.meta["holdout_pairs"]
    assert done.meta["pairs"] == without.meta["pairs"]  # every document is a candidate of every query here
