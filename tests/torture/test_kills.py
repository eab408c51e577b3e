"""Killed runs go on where they were, and end with the same bytes."""

import os

import pytest

from tests.torture.kills import kill_everywhere, kill_often

KILLS = int(os.environ.get("HARDMINE_KILLS") or 200)


@pytest.mark.fault(
    "a run is killed", "SIGKILL at random commit points (60 %) and after random CPU seconds, 20 in a root, in all stages and flows"
)
@pytest.mark.parametrize("kills", [20, pytest.param(KILLS, marks=[pytest.mark.slow, pytest.mark.timeout(14_400)])])
def test_random_kills_change_nothing(tortured, undisturbed, record_property, kills):
    tally = kill_often(tortured, undisturbed, kills, seed=kills)
    record_property("tries", tally.kills)
    record_property("places", dict(tally.places))
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.kills == kills
    assert len(tally.places) >= 5


@pytest.mark.fault("a run is killed at every commit point", "SIGKILL after each file that becomes visible, one run after the other")
@pytest.mark.slow
@pytest.mark.timeout(14_400)
def test_a_kill_at_every_commit_point_changes_nothing(tortured, undisturbed, record_property):
    tally = kill_everywhere(tortured, undisturbed)
    record_property("tries", tally.kills)
    record_property("places", dict(tally.places))
    assert not tally.wrong, "\n".join(tally.wrong)
    files = {name for name in undisturbed["commits"] if not name.startswith("leases/")}
    assert tally.kills >= 0.9 * len(files), "snapshots and records with a date have other names"
