"""Room on the disk for the records, when the disk is full.

A file in the data folder takes room that nobody else then has. When the disk is full it is given
up, so the database can still write: jobs end, are cancelled and deleted. Until there is room to
make it again, no new jobs are taken.
"""

import os
from contextlib import suppress
from pathlib import Path

FILE = "reserve"
PART_OF_DISK = 20  # at most one in so many bytes of a small file system
NEEDED_BYTES = 2**20  # with less, a database cannot be opened


class Reserve:
    """The file, and how much room there is beside it."""

    def __init__(self, data: Path, most_bytes: int) -> None:
        self._data = data
        self._file = data / FILE
        self._most_bytes = most_bytes

    @property
    def size(self) -> int:
        """How many bytes are to be reserved."""
        disk = os.statvfs(self._data)
        return min(self._most_bytes, disk.f_blocks * disk.f_frsize // PART_OF_DISK)

    @property
    def free(self) -> int:
        """How many bytes are free beside the reserve."""
        disk = os.statvfs(self._data)
        return disk.f_bavail * disk.f_frsize

    def has_room_for(self, size: int) -> bool:
        """Whether a new job of `size` bytes leaves as much again as is reserved, and a little."""
        wanted = self.size
        has_reserve = not wanted or self.is_there
        return has_reserve and self.free >= wanted + max(size, NEEDED_BYTES)

    @property
    def is_there(self) -> bool:
        """Whether the room is reserved at present."""
        with suppress(FileNotFoundError):
            return self._file.stat().st_blocks * 512 >= self.size
        return False

    def keep(self) -> bool:
        """Reserve the room, if it is free; whether it is reserved."""
        wanted = self.size
        if self.is_there or not wanted:
            return True
        if self.free < 2 * wanted:
            return False
        try:
            with self._file.open("wb") as file:
                _allocate(file.fileno(), wanted)
        except OSError:  # somebody was faster
            self.give_up()
            return False
        return True

    def give_up(self) -> None:
        """Leave the room to the database."""
        self._file.unlink(missing_ok=True)

    def open_for_start(self) -> None:
        """Give it up if a start would fail for lack of room."""
        if self.free < NEEDED_BYTES:
            self.give_up()


def _allocate(descriptor: int, size: int) -> None:
    """Take so many bytes of the disk, not only of the file."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
        return
    for _ in range(0, size, NEEDED_BYTES):
        os.write(descriptor, bytes(NEEDED_BYTES))
