"""Inputs, intermediate files and results of jobs, outside the scheduler's records.

One folder a job; workers open the same folder themselves, so nothing large passes through the
service. A file is written beside its place, flushed to the disk, then renamed: a reader or a crash
sees all of it or none.
"""

import os
import shutil
from pathlib import Path


class Payloads:
    """The payload store at a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, job_id: str, name: str, content: bytes, *, durable: bool) -> None:
        """Store `content`; if `durable`, it survives a power cut once this returns."""
        folder = self._folder / job_id
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{name}.{os.getpid()}"
        with part.open("wb") as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(folder / name)

    def read(self, job_id: str, name: str) -> bytes:
        """What was stored; FileNotFoundError if nothing was."""
        return (self._folder / job_id / name).read_bytes()

    def delete(self, job_id: str) -> None:
        """Forget everything of the job; nothing to do if there is nothing."""
        shutil.rmtree(self._folder / job_id, ignore_errors=True)
