"""What memory there is, by the machine and by the container."""

import subprocess
import sys

import pytest

from queuebit import memory

GIB = 2**30


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, None),
        ({"memory.max": "max\n", "memory.current": "5"}, None),
        ({"memory.max": f"{GIB}\n", "memory.current": f"{GIB // 4}\n"}, GIB * 3 // 4),
        ({"memory.max": "100", "memory.current": "200"}, 0),
        ({"memory/memory.limit_in_bytes": "300", "memory/memory.usage_in_bytes": "100"}, 200),
        ({"memory/memory.limit_in_bytes": str(2**63 - 4096)}, None),
    ],
)
def test_a_container_has_less_than_its_machine(tmp_path, monkeypatch, files, left):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(memory, "_GROUPS", tmp_path)
    memory._container.cache_clear()

    found = memory.available_bytes()

    memory._container.cache_clear()
    assert found == left if left is not None else found > GIB // 4


def test_a_limit_counts_from_what_is_there_and_tells_what_is_left():
    code = """
from queuebit import memory
kept = bytearray(300 * 2**20)
assert memory.left_bytes() is None
memory.limit_to(100 * 2**20)
assert 90 < memory.left_bytes() / 2**20 <= 100
more = bytearray(60 * 2**20)
assert memory.left_bytes() / 2**20 <= 40
try:
    bytearray(60 * 2**20)
except MemoryError:
    print("no more")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "no more\n"
