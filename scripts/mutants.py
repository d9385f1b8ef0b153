"""Breaks the core, one line at a time, and runs its tests: each break must be caught.

    scripts/mutants [NAME ...]

The breaks are in mutants.toml; add to them with every feature of the core. One that survives says
that a test or an invariant is missing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests" / "core"
SECONDS_MAX = 240  # a break that makes the core go round for ever is caught, too
SLOWEST_LAST = (
    "moves",
    "usage",
    "scheduler",
    "closing",
    "sessions",
    "timers",
    "job_limit",
    "restart",
    "fair_share",
    "limits",
    "budgets",
    "session_limits",
    "calibration",
    "pause",
    "explain",
    "forward",
    "stories",
    "machine",
    "explain_always",
    "fair_share_long",
)
# The tests' own settings, without plugins: they start in half the time.
INI = """[pytest]
pythonpath = .
addopts = --import-mode=importlib -x -q -p no:cacheprovider --tb=line
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One way to break the core."""

    name: str
    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a mutant; `caught_by` None: nothing noticed."""

    mutant: Mutant | None
    caught_by: str | None
    seconds: float


def run(mutant: Mutant | None) -> Outcome:
    """Test a copy of the core; with `mutant` None, the core as it is."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        shutil.copytree(ROOT / "src", Path(folder, "src"))
        shutil.copytree(TESTS, Path(folder, "tests", "core"))
        shutil.copytree(ROOT / "docs", Path(folder, "docs"))  # some tests hold the code to it
        shutil.copy(ROOT / "tests" / "conftest.py", Path(folder, "tests"))
        Path(folder, "pytest.ini").write_text(INI)
        if mutant is not None:
            file = Path(folder, "src", "queuebit", "core", mutant.file)
            text = file.read_text()
            if text.count(mutant.old) != 1:
                sys.exit(f"{mutant.name}: {mutant.old!r} is not once in {mutant.file}")
            file.write_text(text.replace(mutant.old, mutant.new))
        caught_by = failure(Path(folder))
    return Outcome(mutant=mutant, caught_by=caught_by, seconds=time.monotonic() - began)


def failure(folder: Path) -> str | None:
    """The first test that fails in `folder`; None if all pass."""
    tests = [f"tests/core/test_{name}.py" for name in SLOWEST_LAST]
    environment = os.environ | {
        "PYTHONPATH": str(folder / "src"),  # goes before the installed package
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *tests],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "the time limit"
    if done.returncode == 0:
        return None
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    if not failed:
        sys.exit(done.stdout + done.stderr)
    return failed[0].split(" ")[1].rpartition("/")[2]


def main() -> None:
    """Run the mutants of the list, or those named, and print what caught each."""
    breaks = tomllib.loads((ROOT / "scripts" / "mutants.toml").read_text())
    mutants = [Mutant(name=name, **fields) for name, fields in breaks.items()]
    if names := sys.argv[1:]:
        mutants = [mutant for mutant in mutants if mutant.name in names]
    unbroken = run(None)
    if unbroken.caught_by is not None:
        sys.exit(f"{unbroken.caught_by} fails without any break")
    print(f"{'(none)':<32} passes  {unbroken.seconds:4.0f} s")
    survivors = 0
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for outcome in pool.map(run, mutants):
            assert outcome.mutant is not None
            survivors += outcome.caught_by is None
            told = "caught  " if outcome.caught_by else "SURVIVES"
            by = outcome.caught_by or ""
            print(f"{outcome.mutant.name:<32} {told}{outcome.seconds:4.0f} s  {by}", flush=True)
    print(f"{len(mutants) - survivors} of {len(mutants)} caught")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
