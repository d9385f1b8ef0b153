"""`queuebit demo`, small."""

import os
import signal
import threading

import pytest

RUN_S = 50


@pytest.fixture
def scratch(home, monkeypatch):
    """Where temporary folders are made, which must be empty again."""
    folder = home / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_it_shows_both_ways_and_leaves_nothing(home, scratch, started, left_over):
    with started("demo", "--jobs", 2, "--circuits", 2, "--workers", 2) as process:
        out, err = process.communicate(timeout=RUN_S)

        assert (process.returncode, err) == (0, "")
        assert left_over(process.pid) == []
    assert "2 jobs in a batch\n" in out
    assert "2 jobs one by one, in job mode\n" in out
    for name in ("job 1", "job 2"):
        assert f"{name}  done\n" in out
    assert "times as fast" in out
    assert list(scratch.iterdir()) == []
    assert not (home / ".qiskit").exists()
    assert not (home / ".queuebit").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_leaves_nothing(scratch, started, left_over, number):
    with started("demo", "--jobs", 5, "--circuits", 20, "--workers", 2) as process:
        late = threading.Timer(RUN_S, process.kill)
        late.start()
        for line in process.stdout:
            if "jobs in a batch" in line:
                break
        late.cancel()

        os.killpg(process.pid, number)
        _, err = process.communicate(timeout=20)

        assert (process.returncode, err) == (128 + number, "")
        assert left_over(process.pid) == []
    assert list(scratch.iterdir()) == []
