from tests.torture.kills import kill_often, torture


def test_twenty_kills_change_nothing(tmp_path):
    with torture(tmp_path) as one:
        tally = kill_often(one, kills=20, seed=1, each=7)
    assert tally.wrong == []
    assert tally.kills == 20
    assert len(tally.places) >= 5
