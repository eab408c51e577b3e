import pytest
from pydantic import ValidationError

from tasks.report.data import Funnel, Histogram, ReportData, Slice


def test_what_does_not_add_up_is_refused():
    with pytest.raises(ValidationError, match="the parts of top's candidates are 1 more than its 9 candidates"):
        Funnel(recipe="top", candidates=9, positives=4, not_drawn=3, negatives=3)
    assert Funnel(recipe="top", candidates=12, positives=4, not_drawn=3, negatives=3).unaccounted == 2  # 12 − 4 − 3 − 3


def test_histograms_fit_their_edges():
    with pytest.raises(ValidationError, match="2 bins but 3 counts of negatives"):
        Histogram(score="dense_score", edges=(0.0, 0.5, 1.0), counts={"negatives": (1, 2, 3)})
    with pytest.raises(ValidationError, match="do not ascend"):
        Histogram(score="dense_score", edges=(0.0, 0.5, 0.5), counts={})


def test_slices_under_thirty_queries_are_small():
    assert Slice(by="language", name="ar", queries=29, values={}).small
    assert not Slice(by="language", name="de", queries=30, values={}).small


def test_data_are_frozen_know_their_names_and_go_through_json():
    data = ReportData.model_validate({"facts": {"dataset": "d", "round": 1}})
    with pytest.raises(ValidationError):
        data.notes = ("x",)
    with pytest.raises(ValidationError, match="did you mean 'warnings'"):
        ReportData.model_validate({"facts": {"dataset": "d", "round": 1}, "warning": ()})
    with pytest.raises(ValidationError, match="absent"):
        ReportData.model_validate({"facts": {"dataset": "d", "round": 1}, "absent": {"slice": "no"}})
    assert ReportData.model_validate_json(data.model_dump_json()) == data
