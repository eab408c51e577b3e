"""One model, one set of pairs, and both miners over them."""

import random

import pytest

WORDS = [
    "river",
    "mountain",
    "bank",
    "music",
    "engine",
    "paper",
    "tree",
    "light",
    "ocean",
    "stone",
    "glass",
    "winter",
    "market",
    "train",
    "bread",
    "cloud",
    "king",
    "horse",
    "garden",
    "metal",
]


@pytest.fixture(scope="session")
def pairs():
    """25 rows of 20 distinct queries (five have two positives), and 60 documents; some positives have a negative cosine."""
    from datasets import Dataset

    chance = random.Random(0)
    documents = [" ".join(chance.choices(WORDS, k=8)) for _ in range(60)]
    queries = [" ".join(chance.choices(document.split(), k=4)) for document in documents[:20]]
    rows = {"question": queries + queries[:5], "answer": documents[:20] + documents[30:34] + ["42 !?"]}
    return Dataset.from_dict(rows), documents


@pytest.fixture(scope="session")
def model():
    from sentence_transformers import SentenceTransformer

    from tasks.models.location import packaged

    loaded = SentenceTransformer(str(packaged()), device="cpu", local_files_only=True)
    loaded.max_seq_length = 32
    return loaded


@pytest.fixture(scope="session")
def scorer():
    import torch
    from sentence_transformers import CrossEncoder

    from tasks.models.location import packaged

    torch.manual_seed(1)
    return CrossEncoder(str(packaged()), num_labels=1, device="cpu", max_length=48, local_files_only=True)


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return str(tmp_path_factory.mktemp("drop-in") / "mining")


@pytest.fixture
def ours(model, root):
    from flows.drop_in import mine_hard_negatives

    return lambda dataset, **given: mine_hard_negatives(dataset, **{"model": model, "root": root, "verbose": False, **given})


@pytest.fixture(scope="session")
def theirs(model, tmp_path_factory):
    from sentence_transformers.util import mine_hard_negatives

    cache = str(tmp_path_factory.mktemp("theirs"))
    return lambda dataset, **given: mine_hard_negatives(dataset, **{"model": model, "cache_folder": cache, "verbose": False, **given})
