import numpy as np
import pyarrow as pa
import pytest

from tasks.models.fingerprint import teacher_spec
from tasks.models.location import packaged
from tasks.models.settings import TeacherSettings
from tasks.schema import DOCS, QUERIES, candidates
from tasks.store.keys import input_hash, norm_hash
from tasks.store.manifest import Part
from tasks.store.output import Output
from tasks.store.storage import open_storage

SOURCES = ["dense", "random"]


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path / "root"))


@pytest.fixture(scope="session")
def spec(tmp_path_factory):
    """A real, tiny cross-encoder with random weights and the packaged tokenizer."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    folder = tmp_path_factory.mktemp("tiny")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
        model = BertForSequenceClassification(BertConfig(vocab_size=30522, num_labels=1, initializer_range=0.5, **sizes))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(packaged()).save_pretrained(folder)
    return teacher_spec(TeacherSettings(path=str(folder), dtype="float32", device="cpu", max_length=32))


@pytest.fixture
def world(storage):
    """Six queries with five candidates each, over two document partitions; queries 0 and 5 have the same text."""
    documents = []
    for number in range(2):
        rows = [(f"d{number}{row}", "", f"document {number} about topic {row}", None, None, row) for row in range(5)]
        out = Output(storage, f"data/documents/d{number}")
        columns = [(*row, input_hash(row[1], row[2]), norm_hash(row[2])) for row in rows]
        out.table("docs.parquet", pa.table(list(map(list, zip(*columns, strict=True))), schema=DOCS))
        documents.append(Part(stage="documents", key=str(number), index=f"d000{number}", files=tuple(out.files)))
    texts = [f"question {row % 5}" for row in range(6)]
    out = Output(storage, "data/queries/q0")
    rows = [(f"q{row}", text, [], f"g{row % 5}", None, None, row, input_hash("", text), norm_hash(text)) for row, text in enumerate(texts)]
    out.table("queries.parquet", pa.table(list(map(list, zip(*rows, strict=True))), schema=QUERIES))
    queries = [Part(stage="queries", key="q", index="q0000", files=tuple(out.files))]
    return documents, queries, texts


@pytest.fixture
def make_candidates(storage, world):
    def make(queries=range(6)):
        rows = []
        for query in queries:
            for at in range(5):
                partition, row = at % 2, (query + at) % 5
                text = f"document {partition} about topic {row}"
                rank = None if at == 4 else at + 1
                positive = at == 4
                hashes = (input_hash("", world[2][query]), input_hash("", text))
                place = (f"q{query}", f"d{partition}{row}", query, partition, row)
                rows.append(
                    (*place, 1 if positive else None, positive, False, None, *hashes, rank, np.float32(0.5), 1 if at == 3 else None, None)
                )
        out = Output(storage, f"data/candidates/{'-'.join(map(str, queries))}")
        out.table("candidates.parquet", pa.table(list(map(list, zip(*rows, strict=True))), schema=candidates(SOURCES)))
        return [Part(stage="candidates", key="c", index="q0000", files=tuple(out.files))]

    return make
