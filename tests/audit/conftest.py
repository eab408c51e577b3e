import pytest

from tests.audit.world import World, new_world


@pytest.fixture
def world(tmp_path) -> World:
    return new_world(tmp_path)
