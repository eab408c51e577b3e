from concurrent.futures import ThreadPoolExecutor

import pytest

from tasks.audit.records import dataset_names, list_rounds, publish_round, read_round
from tasks.errors import UsageError


def test_rounds_are_numbered_and_the_newest_is_the_default(world):
    first, second = world.both()
    assert (first.number, second.number) == (1, 2)
    assert read_round(world.storage) == read_round(world.storage, "toy", 2) == second
    assert read_round(world.storage, "toy", 1) == first
    assert list_rounds(world.storage) == list_rounds(world.storage, "toy") == [first, second]
    assert dataset_names(world.storage) == ["toy"]


def test_the_same_candidates_are_the_same_round(world):
    first, _ = world.both()
    again = world.first().model_copy(update={"created": "2031-01-01T00:00:00Z"})
    assert publish_round(world.storage, again) == first
    assert read_round(world.storage).number == 2  # the newest, whichever was published last
    assert len(list_rounds(world.storage)) == 2


def test_another_recipe_adds_a_selection(world):
    first = publish_round(world.storage, world.first())
    other = first.selections[0].model_copy(update={"selection_id": "s9", "recipe": "bge", "shards": {}})
    merged = publish_round(world.storage, first.model_copy(update={"number": 0, "selections": (other,), "selection_id": "s9"}))
    assert (merged.number, [chosen.recipe for chosen in merged.selections]) == (1, ["top", "bge"])
    assert merged.selection().recipe == "bge"
    assert merged.selection("top").selection_id == merged.selection("s1").selection_id == "s1"
    assert merged.stages == first.stages


def test_another_format_joins_its_selection(world):
    first = publish_round(world.storage, world.first())
    chosen = first.selections[0]
    more = chosen.model_copy(update={"shards": {"tevatron": chosen.shards["triplet"]}})
    merged = publish_round(world.storage, first.model_copy(update={"selections": (more,)}))
    assert sorted(merged.selections[0].shards) == ["tevatron", "triplet"]


@pytest.mark.fault("eight publishers of rounds at once", "threads on one root")
def test_publishers_at_once_all_succeed(world):
    base = world.first()
    records = [base.model_copy(update={"candidate_set_id": f"c{n}"}) for n in range(8)]
    with ThreadPoolExecutor(8) as threads:
        numbers = [record.number for record in threads.map(lambda record: publish_round(world.storage, record), records)]
    assert sorted(numbers) == list(range(1, 9))
    assert [record.number for record in list_rounds(world.storage)] == list(range(1, 9))


def test_wrong_names_say_what_there_is(world):
    with pytest.raises(UsageError, match="no round yet"):
        read_round(world.storage)
    first, _ = world.both()
    for call, message in [
        (lambda: read_round(world.storage, "tony"), "did you mean 'toy'"),
        (lambda: read_round(world.storage, "toy", 7), "its rounds: 1, 2"),
        (lambda: first.selection("nope"), r"known: top \(s1\)"),
        (lambda: first.stage("score"), "did you mean 'scored'"),
    ]:
        with pytest.raises(UsageError, match=message):
            call()
    publish_round(world.storage, world.first().model_copy(update={"dataset": "other"}))
    with pytest.raises(UsageError, match="name one of other, toy"):
        read_round(world.storage)
