"""The rooms of m3e_corpora import only downwards."""

import pytest

from import_graph import PACKAGES, between

ROOMS = ["cli", "run", "executors", "encoding", "job", "outputs", "inputs"]  # from top to bottom
LEAVES = ["arrow", "errors", "faiss_package"]


def arrows():
    """Each room and the rooms that it imports, wherever in a file it does."""
    prefix = "m3e_corpora."
    return {
        node.removeprefix(prefix): {each.removeprefix(prefix) for each in others if each.startswith(prefix)}
        for node, others in between(2).items()
        if node.startswith(prefix)
    }


def test_every_file_is_in_a_room():
    found = {path.stem for path in PACKAGES["m3e_corpora"].iterdir() if path.suffix == ".py" or path.is_dir()}
    assert found - {"__init__", "__pycache__"} == {*ROOMS, *LEAVES}


@pytest.mark.parametrize("room", [*ROOMS, *LEAVES])
def test_arrows_between_the_rooms_point_down(room):
    below = [] if room in LEAVES else [*ROOMS[ROOMS.index(room) + 1 :], *LEAVES]
    assert arrows().get(room, set()) <= set(below)


def test_the_command_reaches_into_no_room_below_the_job():
    assert arrows()["cli"] == {"run", "executors", "job"}
