"""Who is trained on, what is masked, in what order."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.errors import InputError
from tasks.finetune.corpora import Corpora
from tasks.finetune.material import gather
from tasks.finetune.splits import refuse_others
from tasks.finetune.stage import STAGE, jobs
from tasks.runner.runner import run_job
from tasks.runner.stage import Work
from tasks.store.keys import input_hash

REASONS = ("max_score",)
TWO = lambda n: [(n + 1) % 12, (n + 2) % 12]  # noqa: E731


def samples_of(site, mined, model, settings, splits=(None,) * 12, **options):
    (job,) = jobs(site.storage, mined, site.queries(splits), model, settings, REASONS, **options)
    return gather(Work(job, site.storage, lambda _: None), settings)


def losses_of(site, mined, model, settings):
    (job,) = jobs(site.storage, mined, site.queries([None] * 12), model, settings, REASONS)
    return [loss for _, loss in run_job(site.storage.root, STAGE, job, lambda _: None).meta["losses"]]


def test_texts_ids_and_values_by_hand(site, model, train):
    mined = site.mined(site.documents(), 2, lambda n: [5] if n else [3, 4], rejected=[(0, 6)], teacher=lambda n, doc: n + doc / 10)
    samples, facts = samples_of(site, mined, model, train(epochs=2))
    texts = [[samples.document_texts[place] if place >= 0 else None for place in row] for row in samples.documents.tolist()]
    assert [samples.query_texts[place] for place in samples.queries] == ["where is apple", "where is river"]
    assert texts == [
        ["all about the apple", "all about the violin", "all about the planet"],
        ["all about the river", "all about the candle", None],
    ]
    assert samples.row_documents[1].tolist() == [input_hash("", "all about the river"), input_hash("", "all about the candle"), None]
    # teacher: query + document / 10
    np.testing.assert_allclose(samples.values["teacher"], [[0, 0.3, 0.4], [1.1, 1.5, np.nan]], rtol=1e-6)
    np.testing.assert_array_equal(samples.values["label"], [[1, 0, 0], [1, 0, np.nan]])
    assert "weight" not in samples.values  # all 1
    assert "lexical" not in samples.values  # the round has no BM25
    assert samples.suspected[0].tolist() == [input_hash("", "where is apple")]
    assert samples.suspected[1].tolist() == [input_hash("", "all about the tiger")]
    assert samples.lessons.tolist() == [[0, 2], [0, 2]]
    assert (facts["samples"], facts["negatives"]) == (2, 3)


def test_masks_reach_the_loss(site, model, train):
    """Two rows without negatives: each one's only negative is the other's positive. Masked, nothing is left: the loss is 0."""
    settings = train(batch_size=2)
    documents = site.documents()
    assert losses_of(site, site.mined(documents, 2, lambda n: []), model, settings)[0] > 0.01
    assert losses_of(site, site.mined(documents, 2, lambda n: [], rejected=[(0, 1), (1, 0)]), model, settings) == [0.0]
    assert losses_of(site, site.mined(documents, 2, lambda n: [], also=[(0, 1), (1, 0)]), model, settings) == [0.0]
    unmasked = train(batch_size=2, loss={"kind": "multiple_negatives_ranking"})
    assert losses_of(site, site.mined(documents, 2, lambda n: [], also=[(0, 1), (1, 0)]), model, unmasked)[0] > 0.01


def test_a_loss_without_masks_wants_rows_of_one_length(site, model, train):
    mined = site.mined(site.documents(), 12, lambda n: TWO(n)[: 1 + n % 2])
    _, facts = samples_of(site, mined, model, train(loss={"kind": "multiple_negatives_ranking"}))
    assert (facts["samples"], facts["dropped_short"]) == (6, 6)
    _, facts = samples_of(site, mined, model, train(loss={"kind": "multiple_negatives_ranking"}, num_negatives=1))
    assert (facts["samples"], facts["dropped_short"], facts["negatives"]) == (12, 0, 12)
    _, facts = samples_of(site, mined, model, train())
    assert (facts["samples"], facts["negatives"]) == (12, 18)


def test_training_stages_come_in_the_recipe_s_order(site, model, train):
    mined = site.mined(site.documents(), 3, lambda n: [n + 3], stages=("easy", "hard"))
    samples, _ = samples_of(site, mined, model, train(epochs=2), stages=("hard", "easy"))
    assert samples.lessons.tolist() == [[0, 3], [0, 3], [3, 6], [3, 6]]
    assert len(samples_of(site, mined, model, train(), stages=("easy",))[0]) == 3


def test_negatives_of_earlier_rounds(site, model, train):
    documents = site.documents()
    now = site.mined(documents, 10, lambda n: [10], name="d/2")
    before = site.mined(documents, 8, lambda n: [11], name="d/1", selection="s0", rejected=[(0, 10), (1, 9)])
    samples, facts = samples_of(site, now, model, train(earlier=1.0), earlier=[before])
    negatives = [samples.document_texts[row[1]].split()[-1] for row in samples.documents]
    assert negatives == ["mirror"] * 8 + ["ladder"] * 2  # d11 where the earlier round has the row, else d10
    assert facts["earlier_rows"] == 8
    # what the earlier round suspected is masked, unless this round trains with it: (0, 10) is a negative now
    assert list(zip(*samples.suspected, strict=True)) == [(input_hash("", "where is river"), input_hash("", "all about the pepper"))]
    half = [samples_of(site, now, model, train(earlier=0.5, seed=seed), earlier=[before])[1]["earlier_rows"] for seed in range(6)]
    assert 12 < sum(half) < 36  # 48 rows could change, half of them do
    assert samples_of(site, now, model, train(), earlier=[before])[1]["earlier_rows"] == 0


def test_an_earlier_round_s_negative_that_is_a_label_by_now_is_dropped(site, model, train):
    documents = site.documents()
    now = site.mined(documents, 4, lambda n: [10], name="d/2", also=[(0, 11), (1, 11)])
    before = site.mined(documents, 3, lambda n: [11, 9], name="d/1", selection="s0")
    samples, facts = samples_of(site, now, model, train(earlier=1.0), earlier=[before])
    texts = [[samples.document_texts[place].split()[-1] if place >= 0 else None for place in row[1:]] for row in samples.documents.tolist()]
    assert texts == [[None, "pepper"], [None, "pepper"], ["mirror", "pepper"], ["ladder", None]]
    assert (facts["earlier_rows"], facts["earlier_dropped"]) == (3, 2)


def test_rounds_over_other_documents_keep_their_own_addresses(site, model, train):
    now = site.mined(site.documents(), 4, lambda n: [10], name="d/2")
    other = site.documents([word + "s" for word in ["x"] * 11] + ["changed"], parts=3)
    before = site.mined(other, 4, lambda n: [11], name="d/1")
    samples, _ = samples_of(site, now, model, train(earlier=1.0), earlier=[before])
    texts = [[samples.document_texts[place].split()[-1] for place in row] for row in samples.documents.tolist()]
    assert texts == [["apple", "changed"], ["river", "changed"], ["engine", "changed"], ["violin", "changed"]]
    corpora = Corpora.of([now.documents, before.documents, now.documents])
    assert (corpora.count, corpora.set_of, [part.tolist() for part in corpora.starts]) == (12, (0, 1, 0), [[0, 6, 12], [12, 16, 20, 24]])


def test_random_negatives(site, model, train):
    positives = [(n, doc) for n in range(12) for doc in range(12) if doc not in (n, 0, 1)]
    mined = site.mined(site.documents(), 12, lambda n: [(n + 1) % 12], also=positives, teacher=lambda n, doc: 1.0)
    samples, facts = samples_of(site, mined, model, train(random=1.0))
    drawn = {
        (int(query), samples.document_texts[place].split()[-1])
        for query, place in zip(samples.queries, samples.documents[:, 1], strict=True)
    }
    changed = int(np.isnan(samples.values["teacher"][:, 1]).sum())
    assert facts["random_negatives"] == changed > 3
    # all documents but apple and river are known positives of every query: only these two can be drawn, else the mined one stays
    words = ["apple", "river", "engine", "violin", "planet", "candle", "tiger", "bridge", "winter", "pepper", "ladder", "mirror"]
    mined_pairs = {(n, words[(n + 1) % 12]) for n in range(12)}
    assert {word for pair in drawn - mined_pairs for word in pair[1:]} <= {"apple", "river"}
    free = site.mined(site.documents(), 12, lambda n: [(n + 1) % 12])
    counts = [samples_of(site, free, model, train(random=0.25, seed=seed))[1]["random_negatives"] for seed in range(6)]
    assert 6 < sum(counts) < 30  # of 72


def test_the_last_check():
    queries = pa.table({"query_id": ["a", "b", "c"], "split": pa.array(["train", None, "test"])})
    refuse_others(pa.chunked_array([["a", "b", "a"]]), queries)
    for wrong in ("c", "d"):
        with pytest.raises(InputError, match=f"query '{wrong}' is not of split 'train'"):
            refuse_others(pa.chunked_array([["a", wrong]]), queries)
