import json
from dataclasses import replace

import numpy as np
import pytest

from tasks.errors import InputError, StorageError, UsageError
from tasks.finetune.card import uses
from tasks.finetune.stage import STAGE, Behind, jobs
from tasks.models.materialise import materialise
from tasks.runner.runner import run_job
from tasks.store.keys import norm_hash
from tasks.store.tables import read_table
from tests.finetune.conftest import WORDS

REASONS = ("max_score",)
TWO = lambda n: [(n + 1) % 12, (n + 2) % 12]  # noqa: E731


@pytest.fixture
def world(site):
    documents = site.documents()
    return site, site.mined(documents, 12, TWO, rejected=[(0, 5), (1, 2)], teacher=lambda n, doc: 4.0 if n == doc else -1.0 - doc)


def go(site, mined, model, settings, splits=(None,) * 12, report=lambda _: None, **options):
    (job,) = jobs(site.storage, mined, site.queries(splits), model, settings, REASONS, **options)
    return job, run_job(site.storage.root, STAGE, job, report)


def names(part):
    return [(file.name, file.checksum) for file in part.files]


def test_it_learns_and_says_what_it_did(world, model, train):
    from sentence_transformers import SentenceTransformer

    site, mined = world
    told = []
    job, done = go(site, mined, model, train(epochs=12), report=told.append)
    meta = done.meta
    assert sum(told) == job.units == meta["steps"] == 12 * 3  # 12 rows in batches of 4
    assert (meta["samples"], meta["queries"], meta["documents"], meta["negatives"]) == (12, 12, 12, 24)
    # d02 is one of q01's negatives: the rejection of (1, 2) does not stand; (0, 5) does
    assert (meta["known_positives"], meta["suspected"], meta["left_out"], meta["resumed_from"]) == (12, 1, {}, 0)
    assert [step for step, _ in meta["losses"]] == list(range(1, 37))
    losses = [loss for _, loss in meta["losses"]]
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:3])
    assert done.counters["model_calls"] == 12 * 12 * 4
    folder = materialise(site.storage, done)
    loaded = SentenceTransformer(str(folder), device="cpu")
    vectors = loaded.encode(["where is tiger", "all about the tiger", "all about the ladder"], normalize_embeddings=True)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    assert {file.name for file in done.files} >= {
        "model/model.safetensors",
        "model/modules.json",
        "model/README.md",
        "model/tokenizer.json",
    }
    assert not [file.name for file in done.files if file.name.endswith((".bin", ".pt", ".pth"))]
    assert site.storage.root.encode() not in b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert not list(site.storage.scratch().glob(f"train-retriever-{job.key(STAGE)}"))


def test_model_card(world, model, train):
    site, mined = world
    _, done = go(site, mined, model, train(epochs=1), splits=[None] * 10 + ["test", "dev"])
    card = (materialise(site.storage, done) / "README.md").read_text()
    for said in (
        "| d/1 | hardmine | `s1` | trained on |",
        "10 rows of 10 queries (split train only) with 20 negatives",
        "Queries left out, by split: dev 1, test 1.",
        "Loss: `masked_multiple_negatives_ranking`; 3 steps. Mean loss:",
    ):
        assert said in card
    settings = json.loads(card.split("```json\n")[1].split("```")[0])
    assert (settings["batch_size"], settings["loss"]["scale"], settings["title_template"]) == (4, 20.0, "{title} {text}")
    assert card.startswith("---\nlibrary_name: sentence-transformers\n")


def test_rounds_and_queries_behind_the_base_go_on(world, model, train):
    """d/1 trains q00 and q01, d/2 from there q02: the card names both rounds, the third training's all three; the list has all queries."""
    site, mined = world
    behind, told = Behind(), []
    for number, trained in enumerate((("q00", "q01"), ("q02",), ("q03",)), 1):
        splits = ["train" if f"q{n:02d}" in trained else "test" for n in range(12)]
        done = go(site, replace(mined, name=f"d/{number}"), model, train(), splits=splits, behind=behind)[1]
        card = (materialise(site.storage, done) / "README.md").read_text()
        behind = Behind([done], uses(card))
        told.append([(one["round"], one["use"]) for one in uses(card)])
    base = "behind the base: trained on"
    assert told == [
        [("d/1", "trained on")],
        [("d/2", "trained on"), ("d/1", base)],
        [("d/3", "trained on"), ("d/2", base), ("d/1", base)],
    ]
    listed = read_table(site.storage, done.file("queries.parquet"))
    assert [tuple(row.values()) for row in listed.sort_by("query_id").to_pylist()] == [
        (f"q{n:02d}", norm_hash(f"where is {WORDS[n]}"), f"g{n}") for n in range(4)
    ]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_same_bytes_for_any_number_of_cores(world, model, train, dtype, monkeypatch, make_site):
    made = []
    for cores in ("1", "2"):
        monkeypatch.setenv("HARDMINE_WORKER_CORES", cores)
        site = make_site()
        mined = site.mined(site.documents(), 12, TWO)
        made.append(go(site, mined, model, train(dtype=dtype))[1])
    assert names(made[0]) == names(made[1])


def test_only_queries_of_split_train_take_part(world, model, train):
    site, mined = world
    splits = ["train", None, "TRAIN"] + ["test"] * 5 + ["dev"] * 4
    job, done = go(site, mined, model, train(), splits=splits)
    assert (done.meta["samples"], done.meta["queries"], job.units) == (3, 3, 1)
    assert done.meta["left_out"] == {"dev": 4, "test": 5}
    with pytest.raises(InputError, match="nothing to train on"):
        go(site, mined, model, train(), splits=["test"] * 12)


@pytest.mark.parametrize(
    "loss",
    [
        {"kind": "multiple_negatives_ranking"},
        {"kind": "masked_multiple_negatives_ranking", "mini_batch_size": 2},
        {"kind": "multiple_negatives_ranking", "mini_batch_size": 2},
        {"kind": "kl_divergence"},
        {"kind": "dual_supervision"},
        {"kind": "noisy_pair_corrector"},
        {"kind": "negative_cache", "top_k": 3},
        {"kind": "rank_weighted"},
    ],
)
def test_every_kind_of_loss_trains(world, model, train, loss):
    site, mined = world
    _, done = go(site, mined, model, train(loss=loss, epochs=2))
    assert all(np.isfinite(loss) for _, loss in done.meta["losses"])
    assert done.meta["steps"] >= 6


def test_the_staleness_of_the_cache_is_in_the_facts(world, model, train):
    """12 rows in 3 steps: the first finds the cache empty, so the model has not moved at the second; the third sees that it did."""
    site, mined = world
    _, done = go(site, mined, model, train(loss={"kind": "negative_cache", "top_k": 3}))
    assert [entry["step"] for entry in done.meta["cache"]] == [2, 3]
    assert [entry["cache_staleness"] > 1e-5 for entry in done.meta["cache"]] == [False, True]
    assert all(entry["cache_cross_entropy"] > 0 for entry in done.meta["cache"])
    assert done.meta["cache"][-1]["cache_filled"] > done.meta["cache"][0]["cache_filled"] > 0
    assert "cache" not in go(site, mined, model, train())[1].meta


def test_a_lexical_margin_counts_the_pairs_that_bm25_does_not_know(site, model, train):
    """Query n has positive n and negatives n+1, n+2. BM25 knows all documents but d11: a negative of q09 and q10, q11's own positive.

    So one pair of q09, one of q10 and both of q11 are left out: 4 of 24.
    """
    mined = site.mined(site.documents(), 12, TWO, bm25=lambda n, doc: None if doc == 11 else 9.0 if n == doc else 1.0)
    loss = {"kind": "lexical_margin", "similarity": "cosine"}
    _, done = go(site, mined, model, train(loss=loss, epochs=8))
    assert (done.meta["negatives"], done.meta["pairs_without_bm25"]) == (24, 4)
    losses = [loss for _, loss in done.meta["losses"]]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    with pytest.raises(UsageError, match="rows with 'lexical'"):  # a round without BM25 has no such pair at all
        go(site, site.mined(site.documents(), 12, TWO), model, train(loss=loss))


def test_pairs_that_the_teacher_did_not_score_are_counted(site, model, train):
    """Negatives n+1, n+2 of query n; the teacher knows no d11: one pair of q09, one of q10 and both of q11, 4 of 24."""
    mined = site.mined(site.documents(), 12, TWO, teacher=lambda n, doc: None if doc == 11 else 9.0 if n == doc else 1.0)
    for kind in ("kl_divergence", "margin_mse", "contrastive_kl"):
        _, done = go(site, mined, model, train(loss={"kind": kind, "similarity": "cosine"}))
        assert (done.meta["negatives"], done.meta["pairs_without_teacher"]) == (24, 4)
    assert "pairs_without_teacher" not in go(site, mined, model, train())[1].meta


def test_cached_gradients_and_gradient_checkpointing_train_the_same(world, model, train):
    site, mined = world
    plain = go(site, mined, model, train())[1].meta["losses"]
    cached = go(site, mined, model, train(mini_batch_size=2))[1].meta["losses"]
    assert [loss for _, loss in cached] == pytest.approx([loss for _, loss in plain], abs=2e-4)
    again = go(site, mined, model, train(gradient_checkpointing=True))[1].meta["losses"]
    assert [loss for _, loss in again] == pytest.approx([loss for _, loss in plain], abs=1e-5)


def test_training_on_a_frozen_index(world, model, train):
    from tasks.embed.stage import EMBED_DOCUMENTS, document_jobs
    from tasks.models.fingerprint import document_spec

    site, mined = world
    parts = [
        run_job(site.storage.root, EMBED_DOCUMENTS, job, lambda _: None) for job in document_jobs(mined.documents, document_spec(model))
    ]
    settings = train(loss={"kind": "live_retrieval", "top_k": 5, "similarity": "cosine", "scale": 20.0}, epochs=10)
    _, done = go(site, mined, model, settings, document_vectors=parts)
    losses = [loss for _, loss in done.meta["losses"]]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    with pytest.raises(UsageError, match="frozen index"):
        go(site, mined, model, settings)


def test_wrong_use(world, site, model, train):
    _, mined = world
    with pytest.raises(UsageError, match="no earlier round"):
        go(site, mined, model, train(earlier=0.2))
    unscored = site.mined(mined.documents, 12, TWO)
    with pytest.raises(UsageError, match="needs rows with 'teacher'"):
        go(site, unscored, model, train(loss={"kind": "kl_divergence"}))
    with pytest.raises(ValueError, match="does not cache"):
        train(loss={"kind": "kl_divergence"}, mini_batch_size=2)
    with pytest.raises(ValueError, match="give it once"):
        train(loss={"kind": "multiple_negatives_ranking", "mini_batch_size": 3}, mini_batch_size=2)


def test_two_trainings_of_the_same_do_not_mix(world, model, train):
    from tasks.finetune.run import _checkpoints

    site, mined = world
    (job,) = jobs(site.storage, mined, site.queries([None] * 12), model, train(), REASONS)
    with _checkpoints(site.storage, job.key(STAGE)), pytest.raises(StorageError, match="another process trains"):
        run_job(site.storage.root, STAGE, job, lambda _: None)


def test_what_is_in_the_key(world, model, train):
    site, mined = world
    queries = site.queries([None] * 12)

    def key(settings, model=model):
        return jobs(site.storage, mined, queries, model, settings, REASONS)[0].key(STAGE)

    assert key(train()) == key(train(save_every=7))
    assert key(train()) == key(train(), model.model_copy(update={"batch_tokens": 512}))
    others = [train(seed=1), train(loss={"kind": "kl_divergence"}), train(random=0.5)]
    assert len({key(each) for each in [train(), *others]}) == 4
    assert key(train()) != key(train(), model.model_copy(update={"query_prompt": "q: "}))
