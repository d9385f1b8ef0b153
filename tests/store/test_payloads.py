import os
import threading
from pathlib import Path

import pytest

from queuebit.errors import DamagedPayload, MissingPayload
from queuebit.store.payloads import Payloads

BAD_NAMES = [
    "",
    ".",
    "..",
    "../j2",
    "a/b",
    "/etc/passwd",
    ".hidden",
    "a b",
    "a\0",
    "j\n",
    "é",
    "x" * 129,
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "payloads"


def stored(folder: Path) -> list[str]:
    """Every file, and every folder but those that only mark a job."""
    found = [path for path in folder.rglob("*") if path.is_file() or path.parent == folder]
    return sorted(
        str(path.relative_to(folder))
        for path in found
        if path.is_file() or not (path.name == ".work" or list(path.iterdir()))
    )


@pytest.fixture
def payloads(folder: Path) -> Payloads:
    return Payloads(folder)


@pytest.mark.parametrize("durable", [True, False])
def test_what_was_written_is_read(payloads: Payloads, *, durable: bool):
    content = bytes(range(256)) * 1000

    payloads.write("j1", "params", content, durable=durable)
    payloads.write("j1", "result.1", b"", durable=durable)

    assert payloads.read("j1", "params") == content
    assert payloads.read("j1", "result.1") == b""


def test_another_store_of_the_same_folder_reads_it(payloads: Payloads, folder: Path):
    payloads.write("j1", "params", b"x", durable=True)

    assert Payloads(folder).read("j1", "params") == b"x"


def test_writing_again_replaces(payloads: Payloads):
    payloads.write("j1", "params", b"long before", durable=True)

    payloads.write("j1", "params", b"now", durable=True)

    assert payloads.read("j1", "params") == b"now"


def test_a_reader_sees_all_of_a_write_or_none(payloads: Payloads):
    """Also not the moment in which one content takes the place of the other."""
    contents = [bytes([number]) * 300_000 for number in range(8)]
    payloads.write("j1", "params", contents[0], durable=False)
    done = threading.Event()

    def write() -> None:
        for content in contents * 5:
            payloads.write("j1", "params", content, durable=False)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = []
    while not done.is_set():
        seen.append(payloads.read("j1", "params"))
    writer.join()

    assert all(content in contents for content in seen)


def test_many_writers_do_not_disturb_each_other(payloads: Payloads):
    def write(number: int) -> None:
        for _ in range(20):
            payloads.write("j1", f"raw.{number}", bytes([number]) * 1000, durable=False)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert [payloads.read("j1", f"raw.{n}") for n in range(6)] == [
        bytes([n]) * 1000 for n in range(6)
    ]


def test_a_write_that_fails_leaves_the_old_content_and_no_litter(payloads: Payloads, folder: Path):
    payloads.write("j1", "params", b"old", durable=True)

    with pytest.raises(TypeError):
        payloads.write("j1", "params", "no bytes", durable=True)  # type: ignore[arg-type]

    assert payloads.read("j1", "params") == b"old"
    assert stored(folder) == ["j1/params"]


def test_a_durable_write_flushes_the_file_before_it_has_its_name_and_then_the_names(
    payloads: Payloads, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    payloads.write("j0", "params", b"", durable=True)
    flushed = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        named = (folder / "j1" / "params").exists()
        flushed.append((path.name if path.is_dir() else "file", named))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    payloads.write("j1", "params", b"x", durable=True)

    assert flushed == [("file", False), ("j1", True), ("payloads", True)]


def test_what_was_not_written_is_not_found(payloads: Payloads):
    payloads.write("j1", "params", b"x", durable=True)

    with pytest.raises(FileNotFoundError):
        payloads.read("j1", "result.1")
    with pytest.raises(FileNotFoundError):
        payloads.read("j2", "params")


def test_delete_forgets_one_job_and_no_other(payloads: Payloads, folder: Path):
    payloads.write("j1", "params", b"x", durable=True)
    payloads.write("j1", "result.1", b"x", durable=True)
    payloads.write("j11", "params", b"y", durable=True)

    payloads.delete("j1")
    payloads.delete("j1")

    with pytest.raises(FileNotFoundError):
        payloads.read("j1", "params")
    assert stored(folder) == ["j11/params"]
    assert payloads.read("j11", "params") == b"y"


def test_delete_of_what_never_was_does_nothing(payloads: Payloads):
    payloads.delete("nobody")


def test_discard_forgets_what_it_names(payloads: Payloads):
    for name in ("params", "raw.1", "raw.2", "result.2"):
        payloads.write("j1", name, b"x", durable=False)

    payloads.discard("j1", ["raw.1", "raw.2", "raw.3"])
    payloads.discard("nobody", ["raw.1"])

    assert payloads.read("j1", "params") == payloads.read("j1", "result.2") == b"x"
    for name in ("raw.1", "raw.2"):
        with pytest.raises(FileNotFoundError):
            payloads.read("j1", name)


def test_the_jobs_that_have_files_are_told(payloads: Payloads, folder: Path):
    (folder / "lost+found").mkdir(parents=True)
    for job_id in ("a", "b"):
        payloads.write(job_id, "params", b"x", durable=True)

    assert sorted(payloads.jobs()) == ["a", "b"]


def test_sweep_removes_what_an_earlier_queuebit_left_and_nothing_else(
    payloads: Payloads, folder: Path
):
    payloads.write("j1", "params", b"x", durable=True)
    (folder / f"part.{'0' * 32}").write_bytes(b"half")
    (folder / f"deleted.{'0' * 32}").mkdir()
    (folder / f"deleted.{'0' * 32}" / "params").write_bytes(b"private")
    (folder / "lost+found").mkdir()

    payloads.sweep()

    assert sorted(path.name for path in folder.iterdir()) == [".work", "j1", "lost+found"]
    assert payloads.jobs() == ["j1"]


def test_no_folder_has_no_jobs(payloads: Payloads):
    payloads.sweep()

    assert payloads.jobs() == payloads.marked() == []


@pytest.mark.parametrize("bad", BAD_NAMES)
def test_a_name_that_could_lead_elsewhere_is_refused(payloads: Payloads, tmp_path: Path, bad: str):
    secret = tmp_path / "secret"
    secret.write_bytes(b"s")

    with pytest.raises(ValueError, match="plain name"):
        payloads.write(bad, "params", b"x", durable=False)
    with pytest.raises(ValueError, match="plain name"):
        payloads.write("j1", bad, b"x", durable=False)
    with pytest.raises(ValueError, match="plain name"):
        payloads.read(bad, "params")
    with pytest.raises(ValueError, match="plain name"):
        payloads.read("j1", bad)
    with pytest.raises(ValueError, match="plain name"):
        payloads.delete(bad)
    with pytest.raises(ValueError, match="plain name"):
        payloads.discard("j1", [bad])
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_what_comes_in_parts_is_seen_when_it_is_whole(payloads: Payloads, folder: Path):
    with payloads.writer("j1", "params") as writer:
        writer.write(b"one ")
        with pytest.raises(FileNotFoundError):
            payloads.read("j1", "params")
        writer.write(b"two")
        writer.commit(durable=True)

    assert payloads.read("j1", "params") == b"one two"
    assert stored(folder) == ["j1/params"]


def test_what_was_begun_and_given_up_leaves_nothing(payloads: Payloads, folder: Path):
    with payloads.writer("j1", "params") as writer:
        writer.write(b"half")

    assert stored(folder) == []


def test_what_is_being_read_is_read_to_its_end(payloads: Payloads):
    payloads.write("j1", "result.1", b"x" * 100_000, durable=False)

    with payloads.open("j1", "result.1") as file:
        start = file.read(10)
        payloads.delete("j1")
        assert start + file.read() == b"x" * 100_000

    with pytest.raises(FileNotFoundError):
        payloads.open("j1", "result.1")


# -- what the disk does to a file


DAMAGE = {
    "cut in half": lambda content: content[: len(content) // 2],
    "cut by a byte": lambda content: content[:-1],
    "empty": lambda _: b"",
    "without its beginning": lambda content: content[1:],
    "longer": lambda content: content + b"\0",
    "one bit": lambda content: content[:-3] + bytes([content[-3] ^ 1]) + content[-2:],
    "other bytes": lambda content: os.urandom(len(content)),
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("name", ["params", "raw.1", "result.1"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_named_and_never_read(payloads: Payloads, folder: Path, name, damage):
    payloads.write("j1", name, b'{"a": {}}', durable=True)
    (path,) = (path for path in folder.rglob("*") if path.is_file())
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(DamagedPayload, match=f"{name} of job j1 is damaged"):
        payloads.read("j1", name)


def test_a_missing_file_is_named(payloads: Payloads):
    with pytest.raises(MissingPayload, match=r"result.1 of job j1 is missing"):
        payloads.read("j1", "result.1")


def test_files_of_an_earlier_queuebit_are_read(payloads: Payloads, folder: Path):
    """They have no header; one that was cut off is no object any more."""
    (folder / "j1").mkdir(parents=True)
    (folder / "j1" / "params").write_bytes(b'{"pubs": []}')
    (folder / "j1" / "log").write_bytes(b"two\nlines\n")
    (folder / "j1" / "result.1").write_bytes(b'{"results": [')

    assert payloads.read("j1", "params") == b'{"pubs": []}'
    assert payloads.read("j1", "log") == b"two\nlines\n"
    with pytest.raises(DamagedPayload):
        payloads.read("j1", "result.1")


# -- what is under way


def test_a_job_is_marked_from_its_first_file_until_it_is_settled(payloads: Payloads):
    payloads.write("j1", "params", b"x", durable=True)
    payloads.write("j1", "raw.1", b"x", durable=False)
    payloads.write("j2", "params", b"x", durable=True)
    payloads.settle("j2")

    assert payloads.marked() == ["j1"]
    payloads.empty_work("j1")
    assert payloads.marked() == ["j1"]
    assert payloads.read("j1", "params") == b"x"
    with pytest.raises(FileNotFoundError):
        payloads.read("j1", "raw.1")

    payloads.settle("j1")
    assert payloads.marked() == []


def test_what_says_that_a_submission_was_not_answered_outlives_its_job_s_end(payloads: Payloads):
    payloads.write("j1", "submission", b"x", durable=False)
    payloads.settle("j1")

    assert payloads.marked() == ["j1"]
    assert payloads.read("j1", "submission") == b"x"
    payloads.discard("j1", ["submission"])
    payloads.settle("j1")
    assert payloads.marked() == []
