from concurrent.futures import ThreadPoolExecutor

import pytest

from flows.keeping.verify import verify
from tasks.errors import InputError
from tasks.review.export import export_review
from tasks.review.labels import Answer, read_labels
from tasks.review.records import combined, label_table, publish_review, read_reviews, review_manifests, sure_labels
from tasks.review.sample import manifest_of
from tasks.store.seal import Damaged
from tasks.store.storage import open_storage


@pytest.fixture
def storage(tmp_path):
    return open_storage(str(tmp_path / "root"))


@pytest.fixture
def manifest(sample, origin):
    return manifest_of(sample, origin)


def answer(manifest, place, label, reviewer="", note=""):
    return Answer(pair=manifest.pairs[place].pair, reviewer=reviewer, label=label, note=note)


def test_answers_of_one_export_add_up(storage, manifest):
    first = publish_review(storage, manifest, [answer(manifest, 0, "relevant", "anna", "clear")])
    second = publish_review(storage, manifest, [answer(manifest, 1, "not", "anna"), answer(manifest, 0, "not", "ben")])
    third = publish_review(storage, manifest, [answer(manifest, 1, "relevant", "anna")])  # she thought again
    assert [record.number for record in (first, second, third)] == [1, 1, 1]
    assert read_reviews(storage, "tiny") == [third]
    assert label_table(third).select(["doc_id", "label", "reviewers", "note"]).to_pylist() == [
        {"doc_id": "d1", "label": "unsure", "reviewers": 2, "note": "clear"},
        {"doc_id": "d2", "label": "relevant", "reviewers": 1, "note": None},
        {"doc_id": "@d1", "label": None, "reviewers": 0, "note": None},
    ]
    assert label_table(third).select(["stratum", "inclusion", "teacher_score", "dense_rank", "recipes"]).to_pylist()[:2] == [
        {"stratum": 0, "inclusion": 0.2, "teacher_score": 1.5, "dense_rank": 4, "recipes": ["a", "b"]},
        {"stratum": 1, "inclusion": 0.5, "teacher_score": None, "dense_rank": None, "recipes": ["b"]},
    ]
    assert len(storage.list_names("manifests/reviews/")) == 3  # earlier records stay


def test_the_same_answers_again_change_nothing(storage, manifest):
    given = [answer(manifest, 0, "relevant"), answer(manifest, 1, "unsure")]
    first = publish_review(storage, manifest, given)
    names = review_manifests(storage, "tiny")
    assert publish_review(storage, manifest, given[:1]) == first
    assert review_manifests(storage, "tiny") == names


def test_reviews_of_several_exports_stand_side_by_side(storage, sample, origin):
    one = manifest_of(sample, origin)
    two = manifest_of(sample, origin.model_copy(update={"round": 4}))
    publish_review(storage, one, [answer(one, 0, "relevant"), answer(one, 1, "not"), answer(one, 2, "not")])
    publish_review(storage, two, [answer(two, 0, "relevant"), answer(two, 1, "relevant")])
    records = read_reviews(storage, "tiny")
    assert [(record.number, record.manifest.origin.round) for record in records] == [(1, 3), (2, 4)]
    assert combined(records).to_pylist() == [
        {"query_id": "-q2", "doc_id": "@d1", "label": "not", "reviews": 1},
        {"query_id": "q1", "doc_id": "d1", "label": "relevant", "reviews": 2},
        {"query_id": "q1", "doc_id": "d2", "label": "unsure", "reviews": 2},
    ]
    assert read_reviews(storage, "another") == []
    assert combined([]).num_rows == 0


def test_a_corrected_file_replaces_the_labels_of_its_pairs(storage, sample, origin, tmp_path):
    manifest = export_review(sample, origin, tmp_path / "r.csv")
    first, second, third = (one.pair for one in manifest.pairs)

    def imported(text):
        (tmp_path / "r.csv").write_text(f"pair,label\n{text}")
        return publish_review(storage, manifest, read_labels([tmp_path / "r.csv"], manifest))

    imported(f"{first},relevant\n{second},not\n{third},not\n")
    assert sure_labels(storage, "tiny").to_pylist() == [
        {"query_id": "-q2", "doc_id": "@d1", "relevant": False},
        {"query_id": "q1", "doc_id": "d1", "relevant": True},
        {"query_id": "q1", "doc_id": "d2", "relevant": False},
    ]
    after = imported(f"{first},not\n{second},unsure\n{third},\n")  # an empty cell leaves what was said before
    assert label_table(after).select(["doc_id", "label", "reviewers"]).to_pylist() == [
        {"doc_id": "d1", "label": "not", "reviewers": 1},
        {"doc_id": "d2", "label": "unsure", "reviewers": 1},
        {"doc_id": "@d1", "label": "not", "reviewers": 1},
    ]
    assert sure_labels(storage, "tiny").to_pylist() == [  # unsure takes a label back
        {"query_id": "-q2", "doc_id": "@d1", "relevant": False},
        {"query_id": "q1", "doc_id": "d1", "relevant": False},
    ]
    assert sure_labels(storage, "another").num_rows == 0


def test_a_review_that_is_lost_is_named_and_can_be_imported_again(storage, manifest):
    answers = [answer(manifest, 0, "not", "r")]
    publish_review(storage, manifest, answers)
    (name,) = review_manifests(storage, "tiny")
    storage.remove(name)
    with pytest.raises(Damaged, match="is missing"):
        sure_labels(storage, "tiny")
    (fault,) = verify(storage, mend=True).faults
    assert "its labels count no more until they are imported again" in fault.mend
    assert sure_labels(storage, "tiny").num_rows == 0
    publish_review(storage, manifest, answers)
    assert sure_labels(storage, "tiny").num_rows == 1
    assert verify(storage).faults == ()


@pytest.mark.fault("importers of reviews at once", "eight threads, sixteen answers")
def test_importers_at_once_lose_nothing(storage, manifest):
    given = [answer(manifest, place, "not", f"reviewer {number}") for number in range(8) for place in (0, 1)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda one: publish_review(storage, manifest, [one]), given))
    assert set(read_reviews(storage, "tiny")[0].answers) == set(given)


def test_a_changed_manifest_is_refused(storage, manifest):
    pairs = (manifest.pairs[0].model_copy(update={"inclusion": 1.0}), *manifest.pairs[1:])
    with pytest.raises(InputError, match="was changed"):
        publish_review(storage, manifest.model_copy(update={"pairs": pairs}), [])
