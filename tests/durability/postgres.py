"""A PostgreSQL server of its own, which a test restarts and takes away."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


class Postgres:
    """A server in a temporary folder, on loopback."""

    def __init__(self) -> None:
        # Not in pytest's folder, into which no other user may look.
        self._folder = folder = Path(tempfile.mkdtemp())
        self._as: list[str] = []
        if os.getuid() == 0:  # it refuses to run as root
            shutil.chown(folder, "postgres")
            self._as = ["runuser", "-u", "postgres", "--"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        data, user = str(folder / "data"), "queuebit"
        self._call("initdb", "--pgdata", data, "--username", user, "--auth", "trust", "-E", "UTF8")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://queuebit@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        options = f"-p {self._port} -h 127.0.0.1 -k {self._folder}"
        self._control("start", "--log", str(self._folder / "log"), "--options", options)

    def stop(self) -> None:
        """As an operator's restart does: connections are ended, work under way is undone."""
        self._control("stop", "--mode", "fast")

    def crash(self) -> None:
        """As a power cut does."""
        self._control("stop", "--mode", "immediate")

    def close(self) -> None:
        """End it and remove everything."""
        with contextlib.suppress(subprocess.CalledProcessError):  # it is away already
            self.crash()
        shutil.rmtree(self._folder)

    def _control(self, what: str, *more: str) -> None:
        self._call("pg_ctl", "--pgdata", str(self._folder / "data"), "--wait", what, *more)

    def _call(self, program: str, *arguments: str) -> None:
        assert PROGRAMS is not None
        command = [*self._as, str(PROGRAMS / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self._folder)
