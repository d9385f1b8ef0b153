"""How much memory there is, and how much of it this process may take."""

import os
import re
import resource
import sys
from functools import cache
from pathlib import Path

_AVAILABLE = re.compile(r"^MemAvailable:\s+(\d+) kB", re.MULTILINE)
_GROUPS = Path("/sys/fs/cgroup")
_LIMITS = (
    ("memory.max", "memory.current"),  # cgroup 2
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),  # cgroup 1
)


def available_bytes() -> int:
    """What the machine, or the container, can still give without swapping."""
    found = _AVAILABLE.search(_text(Path("/proc/meminfo")))
    if found is None:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    left = int(found[1]) * 1024
    for limit, used in _container():
        left = min(left, max(0, limit - int(_text(used).strip() or 0)))
    return left


@cache
def _container() -> list[tuple[int, Path]]:
    """Limits of the container that this is in, and where stands what it uses of them."""
    told = [(_text(_GROUPS / most).strip(), _GROUPS / used) for most, used in _LIMITS]
    return [(int(limit), used) for limit, used in told if limit.isdecimal()]  # "max": none


def limit_to(more_bytes: int) -> None:
    """Let this process take `more_bytes` beyond what it has; then allocations fail.

    Counted is private memory that can be written (RLIMIT_DATA), not address space, of which
    libraries reserve far more than they use. Only Linux counts it so; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = _private_bytes() + more_bytes
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def left_bytes() -> int | None:
    """What this process may still take of its limit; None: it has none."""
    if sys.platform != "linux":
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return None if soft == resource.RLIM_INFINITY else max(0, soft - _private_bytes())


def _private_bytes() -> int:
    """What RLIMIT_DATA counts, and the stack."""
    pages = int(_text(Path("/proc/self/statm")).split()[5])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
