"""Room that only the database may use."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from queuebit.store.room import Reserve

MB = 2**20


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A file system of 1000 MiB, of which some are free."""
    state = SimpleNamespace(free=500 * MB)
    told = lambda _: SimpleNamespace(f_blocks=1000, f_frsize=MB, f_bavail=state.free // MB)  # noqa: E731
    monkeypatch.setattr(os, "statvfs", told)
    return state


def test_room_is_reserved_until_it_is_needed(tmp_path: Path, disk):
    reserve = Reserve(tmp_path, 8 * MB)

    assert not reserve.has_room_for(0)  # nothing is reserved yet
    assert reserve.keep()
    assert reserve.is_there
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= 8 * MB
    assert reserve.has_room_for(492 * MB)
    assert not reserve.has_room_for(493 * MB)
    disk.free = 9 * MB
    assert reserve.has_room_for(0)
    disk.free = 8 * MB
    assert not reserve.has_room_for(0)

    reserve.give_up()
    assert not reserve.has_room_for(0)
    disk.free = 15 * MB
    assert not reserve.keep()
    disk.free = 16 * MB
    assert reserve.keep()


def test_a_small_disk_has_a_small_reserve(tmp_path: Path, disk):
    assert Reserve(tmp_path, 900 * MB).size == 50 * MB


def test_without_a_reserve_a_job_has_to_fit(tmp_path: Path, disk):
    disk.free = 10 * MB
    reserve = Reserve(tmp_path, 0)

    assert reserve.keep()
    assert reserve.has_room_for(10 * MB)
    assert not reserve.has_room_for(11 * MB)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("free", "stays"), [(0, False), (100 * MB, True)])
def test_a_start_on_a_full_disk_gives_it_up(tmp_path: Path, disk, free, stays):
    reserve = Reserve(tmp_path, 8 * MB)
    reserve.keep()
    disk.free = free

    reserve.open_for_start()

    assert reserve.is_there is stays
