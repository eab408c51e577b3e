"""A tiny encoder, and committed tables of a round over a corpus in which a query is one word that its document says."""

import itertools

import pyarrow as pa
import pytest

from tasks.finetune.stage import Mined
from tasks.models.location import packaged
from tasks.models.settings import ModelSettings
from tasks.models.train_settings import TrainSettings
from tasks.schema import DECISIONS, DOCS, QUERIES, ROWS, scored
from tasks.store.keys import input_hash, norm_hash
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.storage import open_storage

WORDS = ["apple", "river", "engine", "violin", "planet", "candle", "tiger", "bridge", "winter", "pepper", "ladder", "mirror"]


@pytest.fixture(scope="session")
def body(tmp_path_factory):
    """A real, tiny encoder with random weights (and dropout in its configuration) and the packaged tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = tmp_path_factory.mktemp("body")
    sizes = {"vocab_size": 30522, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(BertConfig(**sizes, initializer_range=0.1)).save_pretrained(folder)
    AutoTokenizer.from_pretrained(packaged()).save_pretrained(folder)
    return str(folder)


class Site:
    """A storage root, and tables committed to it."""

    def __init__(self, folder):
        self.storage = open_storage(str(folder / "root"))
        self._number = itertools.count()

    def write(self, stage, index, **files):
        out = Output(self.storage, f"data/{stage}/{next(self._number)}")
        for name, (rows, schema) in files.items():
            table = pa.Table.from_pylist([{field: row.get(field) for field in schema.names} for row in rows], schema=schema)
            out.table(f"{name}.parquet", table)
        return Part(stage=stage, key=f"{stage}{index}{next(self._number)}", index=index, files=tuple(out.files))

    def documents(self, words=WORDS, parts=2):
        """Document dNN in partition NN % parts."""
        made = []
        for number in range(parts):
            rows = [document(n, word) for n, word in enumerate(words) if n % parts == number]
            made.append(self.write("documents", f"d{number:04d}", docs=(rows, DOCS)))
        return made

    def queries(self, splits):
        """Query qNN asks for word NN; one partition."""
        rows = [query(n, split) for n, split in enumerate(splits)]
        return [self.write("queries", "q0000", queries=(rows, QUERIES))]

    def mined(
        self, documents, count, negatives, name="d/1", rejected=(), teacher=None, stages=("main",), selection="s1", also=(), bm25=None
    ):
        """A selection in which query n has positive n and the negatives ``negatives(n)``; ``also``: more positives; ``bm25``: scores."""
        rows, decisions, pairs = [], [], []
        for n in range(count):
            for stage in stages:
                for slot, doc in enumerate([n, *negatives(n)]):
                    rows.append(
                        {
                            "selection_id": selection, "stage": stage, "epoch": 0, "row_no": n, "query_id": f"q{n:02d}",
                            "positive_id": f"d{n:02d}", "slot": slot, "doc_id": f"d{doc:02d}", "label": float(slot == 0), "weight": 1.0,
                            "query_row": n, "doc_partition": doc % len(documents), "doc_row": doc // len(documents),
                        }
                    )  # fmt: skip
                    decision = {"query_id": f"q{n:02d}", "doc_id": f"d{doc:02d}", "stage": stage}
                    decisions.append({**decision, "decision": "negative" if slot else "positive", "reasons": []})
        for n, doc in rejected:
            decisions.append(
                {"query_id": f"q{n:02d}", "doc_id": f"d{doc:02d}", "stage": "main", "decision": "rejected", "reasons": ["max_score"]}
            )
        for n, doc in itertools.product(range(count), range(len(WORDS))):
            positive = n == doc or (n, doc) in also
            logit = None if teacher is None else teacher(n, doc)
            pairs.append(
                {
                    "query_id": f"q{n:02d}", "doc_id": f"d{doc:02d}", "is_positive": positive, "planted": False, "teacher_logit": logit,
                    "query_hash": input_hash("", f"where is {WORDS[n]}"), "doc_hash": input_hash("", f"all about the {WORDS[doc]}"),
                    "bm25_score": None if bm25 is None else bm25(n, doc),
                }
            )  # fmt: skip
        select = self.write("select", "q0000", rows=(rows, ROWS), decisions=(decisions, DECISIONS))
        table = self.write("scored", "q0000", scored=(pairs, scored(["dense", *(["bm25"] if bm25 else [])])))
        return Mined(name, "hardmine", selection, [select], [table], documents)


def document(n, word):
    text = f"all about the {word}"
    return {
        "doc_id": f"d{n:02d}",
        "title": "",
        "text": text,
        "position": n,
        "input_hash": input_hash("", text),
        "norm_hash": norm_hash(text),
    }


def query(n, split=None):
    text = f"where is {WORDS[n]}"
    return {
        "query_id": f"q{n:02d}", "text": text, "answers": [], "group": f"g{n}", "split": split, "position": n,
        "input_hash": input_hash("", text), "norm_hash": norm_hash(text),
    }  # fmt: skip


@pytest.fixture(scope="session")
def make_site(tmp_path_factory):
    return lambda: Site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(make_site):
    return make_site()


@pytest.fixture(scope="session")
def model(body):
    return ModelSettings(path=body, dtype="float32", device="cpu", max_length=24)


@pytest.fixture(scope="session")
def train():
    def make(**values):
        return TrainSettings(**{"learning_rate": 2e-3, "batch_size": 4, "max_length": 24, "dtype": "float32", **values})

    return make
