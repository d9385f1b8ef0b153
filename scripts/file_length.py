"""Fails when a file grows over 600 lines: one noun per file, the important thing at the top."""

import sys
from pathlib import Path

LINES_MAX = 600

long = {
    path: lines
    for folder in ("src", "tests", "benchmarks", "scripts")
    for path in Path(folder).rglob("*.py")
    if (lines := len(path.read_text().splitlines())) > LINES_MAX
}
for path, lines in long.items():
    print(f"{path}: {lines} lines, the limit is {LINES_MAX}")
sys.exit(bool(long))
