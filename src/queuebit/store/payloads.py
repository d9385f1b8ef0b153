"""Inputs, intermediate files and results of jobs, outside the scheduler's records.

    JOB_ID/params, result.1, log     what is kept of a job
    .work/JOB_ID/                    there while a job is not final, or is being deleted
    .work/JOB_ID/prepared.1, raw.1   what its stages pass on: worth nothing after a restart
    .work/JOB_ID/body                a large submission, until it is taken apart
    .work/JOB_ID/submission          its client may not have had the answer (api/repeats.py)

One folder a job; workers open the same folders themselves, so nothing large passes through the
service. A file is written in the job's work folder, flushed to the disk, then renamed into its
place: a reader or a crash sees all of it or none. It begins with its length and checksum, which
every reader compares.

A start looks only at the jobs that have a work folder, so it takes no longer the more jobs there
have been.
"""

import os
import re
import secrets
import shutil
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

from queuebit.core.model import Job, JobStatus
from queuebit.errors import DamagedPayload, MissingPayload

INPUTS = "params"  # which a private job does not keep (decisions 24)
SUBMISSION = "submission"

_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")
_WORK = ".work"
_OLD_REMAINS = ("part.", "deleted.")  # of an earlier Queuebit, which had no work folders
BODY = "body"  # of a submission, until it is taken apart
_IN_WORK = frozenset({"prepared", "raw", BODY, SUBMISSION})
_HEADER = re.compile(rb"queuebit 1 (\d{15}) ([0-9a-f]{8})\n")
HEADER_BYTES = 36
_PART_BYTES = 2**20  # read at once, to compare a checksum


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
        return Writer(path, self._make_work(job_id) / f"part.{secrets.token_hex(16)}")

    def read(self, job_id: str, name: str) -> bytes:
        """What was stored; MissingPayload, a FileNotFoundError, or DamagedPayload."""
        with self.open(job_id, name) as file:
            return file.read()

    def open(self, job_id: str, name: str) -> BinaryIO:
        """What was stored, to be read in parts, whatever becomes of it meanwhile.

        MissingPayload, a FileNotFoundError, or DamagedPayload: it was compared with its checksum.
        """
        path, what = self._path(job_id, name), f"{name} of job {job_id}"
        try:
            file = path.open("rb")
        except FileNotFoundError:
            raise MissingPayload(f"The file {what} is missing.") from None
        fault = _fault(file, name)
        if fault:
            file.close()
            raise DamagedPayload(f"The file {what} is damaged: {fault}.")
        return file

    def size(self, job_id: str, name: str) -> int:
        """How many bytes were stored; FileNotFoundError if nothing was."""
        with self._path(job_id, name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return size - HEADER_BYTES if _HEADER.match(file.read(HEADER_BYTES)) else size

    def discard(self, job_id: str, names: Iterable[str]) -> None:
        """Forget these of the job's; nothing to do for what is not there."""
        for name in names:
            self._path(job_id, name).unlink(missing_ok=True)

    def mark(self, job_id: str) -> None:
        """Have the next start look whether the job is still there, before it is deleted."""
        self._make_work(job_id)

    def marked(self) -> list[str]:
        """The jobs that have a work folder, for the start of the service."""
        return [path.name for path in _entries(self._work) if _PLAIN.fullmatch(path.name)]

    def empty_work(self, job_id: str) -> None:
        """Forget what the job's stages passed on; it is still marked."""
        for path in _entries(self._work / _plain(job_id)):
            if path.name == SUBMISSION:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)  # what resists goes at the next start
            else:
                path.unlink(missing_ok=True)

    def settle(self, job_id: str) -> None:
        """The same of a job that is final: no later start need look at it."""
        self.empty_work(job_id)
        with suppress(OSError):  # its submission may be in there, and other jobs beside it
            (self._work / _plain(job_id)).rmdir()
            self._work.rmdir()

    def delete(self, job_id: str) -> None:
        """Forget everything of the job; nothing to do if there is nothing."""
        folder = self._folder / _plain(job_id)
        if folder.exists():  # gone at once for readers, whatever still writes into it
            with suppress(FileNotFoundError):
                folder.rename(self._make_work(job_id) / f"deleted.{secrets.token_hex(16)}")
        self.discard(job_id, [SUBMISSION])
        self.settle(job_id)

    def jobs(self) -> list[str]:
        """The jobs that have files; reads the whole folder."""
        return [
            path.name
            for path in _entries(self._folder)
            if _PLAIN.fullmatch(path.name) and not path.name.startswith(_OLD_REMAINS)
        ]

    def sweep(self) -> None:
        """Forget what an earlier Queuebit had under way when it was killed; for the start."""
        for path in _entries(self._folder):
            if not path.name.startswith(_OLD_REMAINS):
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)

    @property
    def _work(self) -> Path:
        return self._folder / _WORK

    def _make_work(self, job_id: str) -> Path:
        work = self._work / _plain(job_id)
        while True:
            try:
                work.mkdir(exist_ok=True)
            except FileNotFoundError:  # nothing else is under way
                if not self._folder.is_dir():
                    self._folder.mkdir(parents=True, exist_ok=True)
                    _sync(self._folder.parent)
                self._work.mkdir(exist_ok=True)
            else:
                return work

    def _path(self, job_id: str, name: str) -> Path:
        is_in_work = _plain(name).partition(".")[0] in _IN_WORK
        parent = self._work if is_in_work else self._folder
        return parent / _plain(job_id) / name


class Writer:
    """A payload that is being written; nobody sees it before `commit`.

    Leaving the block without a commit removes what was written.
    """

    def __init__(self, path: Path, part: Path) -> None:
        self._path = path
        self._part = part
        self._checksum = 0
        self.length = 0
        """Bytes so far."""
        self._file = part.open("xb")
        self._file.write(bytes(HEADER_BYTES))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what was not committed."""
        try:
            self._file.close()
        except OSError:  # a full disk has no room for what is in the buffer
            pass
        finally:
            self._part.unlink(missing_ok=True)

    def write(self, part: bytes) -> None:
        """Add `part`."""
        self._file.write(part)
        self._checksum = zlib.crc32(part, self._checksum)
        self.length += len(part)

    def commit(self, *, durable: bool) -> None:
        """Put it into its place; if `durable`, it survives a power cut once this returns."""
        self._file.seek(0)
        self._file.write(b"queuebit 1 %015d %08x\n" % (self.length, self._checksum))
        self._file.flush()
        if durable:
            os.fsync(self._file.fileno())
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._part.replace(self._path)
        if durable:  # the names, too: of the file in its folder, of the folder in ours
            _sync(self._path.parent)
            _sync(self._path.parent.parent)


def leftovers(job: Job, *, private: bool) -> list[str]:
    """The names of what a job that has ended may have left behind, and nobody needs any more."""
    kept = job.run if job.status is JobStatus.COMPLETED else None
    names = [f"result.{run}" for run in range(1, job.run + 1) if run != kept]
    return [*names, INPUTS] if private else names


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing, if it is not there."""
    try:
        return list(folder.iterdir())
    except FileNotFoundError:
        return []


def _fault(file: BinaryIO, name: str) -> str:
    """What is wrong with a file, which is then at the start of its content; empty: nothing."""
    header = _HEADER.match(file.read(HEADER_BYTES))
    if header is None:
        file.seek(0)
        return "" if _is_older(file, name) else "it does not begin as it should"
    checksum = length = 0
    while part := file.read(_PART_BYTES):
        checksum = zlib.crc32(part, checksum)
        length += len(part)
    file.seek(HEADER_BYTES)
    if length != int(header[1]):
        return f"it has {length} of {int(header[1])} bytes"
    return "" if checksum == int(header[2], 16) else "its checksum is wrong"


def _is_older(file: BinaryIO, name: str) -> bool:
    """Whether an earlier Queuebit wrote it, without a header: JSON objects, and logs."""
    if name == "log":
        return True
    begins = file.read(1) == b"{"
    file.seek(max(0, file.seek(0, os.SEEK_END) - 1))
    ends = file.read(1) == b"}"
    file.seek(0)
    return begins and ends


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
