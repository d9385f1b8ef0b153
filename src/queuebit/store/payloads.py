"""Inputs, intermediate files and results of jobs, outside the scheduler's records.

One folder a job; workers open the same folder themselves, so nothing large passes through the
service. A file is written beside the jobs' folders, flushed to the disk, then renamed into its
place: a reader or a crash sees all of it or none. Deleting a job renames its folder first. So what
a crash leaves behind has the name of no job, and `sweep` removes it.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import BinaryIO, Self

from queuebit.core.model import Job, JobStatus

INPUTS = "params"  # which a private job does not keep (decisions 24)

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")


class Payloads:
    """The payload store at a folder. Names that could lead out of it are a ValueError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, job_id: str, name: str, content: bytes, *, durable: bool) -> None:
        """Store `content`; if `durable`, it survives a power cut once this returns."""
        with self.writer(job_id, name) as writer:
            writer.write(content)
            writer.commit(durable=durable)

    def writer(self, job_id: str, name: str) -> "Writer":
        """Store something that comes in parts."""
        path = self._path(job_id, name)
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True, exist_ok=True)
            _sync(self._folder.parent)
        return Writer(path, self._unused("part"))

    def read(self, job_id: str, name: str) -> bytes:
        """What was stored; FileNotFoundError if nothing was."""
        return self._path(job_id, name).read_bytes()

    def open(self, job_id: str, name: str) -> BinaryIO:
        """What was stored, to be read in parts, whatever becomes of it meanwhile.

        FileNotFoundError if nothing was.
        """
        return self._path(job_id, name).open("rb")

    def discard(self, job_id: str, names: Iterable[str]) -> None:
        """Forget these of the job's; nothing to do for what is not there."""
        for name in names:
            self._path(job_id, name).unlink(missing_ok=True)

    def marked(self, name: str) -> list[tuple[str, bytes]]:
        """Every job that has something stored under `name`, and that; reads all folders."""
        if not self._folder.is_dir():
            return []
        found = ((path, path / _plain(name)) for path in self._folder.iterdir())
        return [(path.name, file.read_bytes()) for path, file in found if file.is_file()]

    def delete(self, job_id: str) -> None:
        """Forget everything of the job; nothing to do if there is nothing."""
        self._forget(self._folder / _plain(job_id))

    def sweep(self, known: AbstractSet[str]) -> int:
        """Forget all but the jobs `known`; returns how much there was to forget.

        For the start of the service, while nobody writes.
        """
        if not self._folder.is_dir():
            return 0
        orphans = [
            path
            for path in self._folder.iterdir()
            if path.name not in known and _PLAIN.fullmatch(path.name)
        ]
        for path in orphans:
            self._forget(path)
        return len(orphans)

    def _path(self, job_id: str, name: str) -> Path:
        return self._folder / _plain(job_id) / _plain(name)

    def _unused(self, what: str) -> Path:
        """A path that nobody uses; the dot keeps it apart from the ids of jobs."""
        return self._folder / f"{what}.{secrets.token_hex(16)}"

    def _forget(self, path: Path) -> None:
        """Delete a folder or file: gone at once for readers, whatever still writes into it."""
        grave = self._unused("deleted")
        try:
            path.rename(grave)
        except FileNotFoundError:
            return
        if grave.is_dir():
            shutil.rmtree(grave, ignore_errors=True)  # what resists is swept at the next start
        else:
            grave.unlink()


class Writer:
    """A payload that is being written; nobody sees it before `commit`.

    Leaving the block without a commit removes what was written.
    """

    def __init__(self, path: Path, part: Path) -> None:
        self._path = path
        self._part = part
        self._file = part.open("xb")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was not committed."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def write(self, part: bytes) -> None:
        """Add `part`."""
        self._file.write(part)

    def commit(self, *, durable: bool) -> None:
        """Put it into its place; if `durable`, it survives a power cut once this returns."""
        self._file.flush()
        if durable:
            os.fsync(self._file.fileno())
        self._path.parent.mkdir(exist_ok=True)
        self._part.replace(self._path)
        if durable:  # the names, too: of the file in its folder, of the folder in ours
            _sync(self._path.parent)
            _sync(self._path.parent.parent)


def leftovers(job: Job, *, private: bool) -> list[str]:
    """The names of what a job that has ended may have left behind, and nobody needs any more."""
    runs = range(1, job.run + 1)
    names = [f"{name}.{run}" for name in ("prepared", "raw") for run in runs]
    kept = job.run if job.status is JobStatus.COMPLETED else None
    names += [f"result.{run}" for run in runs if run != kept]
    return [*names, INPUTS] if private else names


def _plain(name: str) -> str:
    """`name`, if it can name a file of ours and nothing else."""
    if not _PLAIN.fullmatch(name):
        raise ValueError(f"{name!r} is no plain name: letters, digits and _.- only, 128 at most")
    return name


def _sync(folder: Path) -> None:
    """Have the names in `folder` on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
