"""Pictures and reports are made once, and again when what they show has changed."""

from pathlib import Path

from flows.cache_only import Quiet
from flows.deployed.artifacts import estimates_lines, summary, write_report
from flows.deployed.pages import Pictures, is_made, keep_page, page_name, report_key
from flows.mine import mine_round
from flows.settings import MineSettings
from tasks.audit.records import read_round
from tasks.report.data import Histogram
from tasks.runner.inline import InlineExecutor
from tasks.runner.runner import Context
from tests.deploy.conftest import copied
from tests.flows.test_rates import selection


class Pencil:
    """Draws a line of text, and counts."""

    __name__ = "pencil"

    def __init__(self):
        self.drawn = []

    def __call__(self, *shown):
        self.drawn.append(shown)
        return f"data:image/png;base64,{len(self.drawn)}"


def shown(storage, record, pencil, *pictures):
    with Pictures(storage, record) as kept:
        return [kept.of(pencil, *one) for one in pictures]


def test_a_picture_is_drawn_once_and_goes_when_it_is_no_longer_shown(mined, tmp_path):
    storage, _ = copied(mined, tmp_path)
    record, pencil = mined[3], Pencil()
    bars = {"a": 1, "b": 2}
    bins = Histogram(score="dense_score", edges=(0.0, 0.5, 1.0), counts={"positives": (1, 2)})
    first = shown(storage, record, pencil, ("why", bars), ("scores", bins))
    assert shown(storage, record, pencil, ("why", bars), ("scores", bins)) == first
    assert len(pencil.drawn) == 2
    other = bins.model_copy(update={"counts": {"positives": (1, 3)}})
    again = shown(storage, record, pencil, ("why", bars), ("scores", other))
    assert (again[0], again[1] != first[1], len(pencil.drawn)) == (first[0], True, 3)
    shown(storage, record, pencil, ("why", {"b": 2, "a": 1}))  # in another order it is another picture
    assert len(pencil.drawn) == 4
    shown(storage, record, pencil, ("scores", other))  # it was not shown last time
    assert len(pencil.drawn) == 5


def test_pictures_that_cannot_be_read_are_drawn_again(mined, tmp_path):
    storage, _ = copied(mined, tmp_path)
    record, pencil = mined[3], Pencil()
    shown(storage, record, pencil, ("one",))
    for damage in (b"{", b"[]", b"\xff", b'{"' + b"0" * 32 + b'": 3}'):
        storage.put_bytes(page_name(record, ".pictures.json"), damage)
        before = len(pencil.drawn)
        shown(storage, record, pencil, ("one",))
        assert len(pencil.drawn) == before + 1


def test_a_report_is_written_once_until_the_round_changes(mined, tmp_path):
    storage, settings = copied(mined, tmp_path)
    context, record = Context(storage, lambda: InlineExecutor(1), Quiet()), read_round(storage, "small")
    name = write_report(context, record, [])
    page = Path(storage.root) / name
    written = page.stat().st_mtime_ns
    assert page.read_text().rstrip().endswith("-->")
    assert write_report(context, record, []) == name == "reports/small-r1.html"
    assert page.stat().st_mtime_ns == written
    key = report_key(storage, record, [], 1)
    assert report_key(storage, record, ["top"], 1) != key
    keep_page(storage, name, b"<html></html>", key)
    assert is_made(storage, name, key)
    storage.put_bytes(name, page.read_bytes()[:-9])  # half written, or edited
    assert not is_made(storage, name, key)
    mine_round(MineSettings.model_validate(settings.model_dump()), context)  # by another recipe: the round has a selection more
    assert report_key(storage, read_round(storage, "small"), [], 1) != key


def test_a_round_that_is_mined_again_has_its_pictures(mined, tmp_path):
    storage, _ = copied(mined, tmp_path)
    settings = mined[2].model_copy(update={"root": storage.root})
    context = Context(storage, lambda: InlineExecutor(1), Quiet())
    record = read_round(storage, "small")
    first = summary(storage, record, mine_round(settings, context))
    kept = Path(storage.root) / page_name(record, ".pictures.json")
    written = kept.stat().st_mtime_ns
    assert first.count("data:image/png") == kept.read_text().count("data:image/png") >= 2
    assert summary(storage, record, mine_round(settings, context)) == first
    assert kept.stat().st_mtime_ns == written


def test_the_numbers_of_an_estimate_stand_before_its_long_name():
    head, _, row = estimates_lines([selection({"estimates": {"planted": [0.302, 0.223, 0.391, 96, ""]}, "negatives": 100})])
    assert head == "| recipe | estimate | interval | pairs | share of |"
    assert row == "| top | 30.2 % | 22.3 to 39.1 % | 96 | false negatives, by planted positives |"
