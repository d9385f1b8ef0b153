"""docs/rules.md names what holds each rule and what shows it; none of the names is out of date."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
STORIES = ROOT / "tests" / "core" / "stories"
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "docs" / "rules.md").read_text().splitlines()
    if re.match(r"\| [\dD]", line)
]
IDS = [f"{section} {rule}" for section, rule, _, _ in ROWS]
CHAPTERS = (1, 2, 3, 4, 5, 8)  # 6 and 7 are of the wire, not of the modes


def functions(file: Path) -> set[str]:
    """Every function of a file, inside classes too."""
    return {
        node.name
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_what_holds_a_rule_exists(row: list[str]):
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", row[2])

    assert named
    for file, function in named:
        assert function in functions(ROOT / "src" / "queuebit" / file)


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_what_shows_a_rule_exists(row: list[str]):
    stories = re.findall(r"story `(\w+)`", row[3])
    tests = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row[3])

    assert stories or tests
    for story in stories:
        assert (STORIES / f"{story}.txt").is_file()
    for file, test in tests:
        assert test in functions(ROOT / "tests" / file)


def test_no_section_of_the_rules_is_left_out():
    text = (ROOT / "docs" / "semantics.md").read_text()
    sections = re.findall(r"^###? (\d(?:\.\d)?)\.? ", text, re.MULTILINE)
    parents = {section.split(".")[0] for section in sections if "." in section}
    wanted = {
        section
        for section in sections
        if int(section[0]) in CHAPTERS and ("." in section or section not in parents)
    }

    assert wanted <= {section for section, _, _, _ in ROWS}


def test_every_story_shows_a_rule():
    shown = re.findall(r"story `(\w+)`", (ROOT / "docs" / "rules.md").read_text())

    assert {path.stem for path in STORIES.glob("*.txt")} == set(shown)
