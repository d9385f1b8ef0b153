"""docs/states.md shows what the tables of moves say."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_states_is_drawn_from_the_tables():
    """If this fails, run scripts/draw_states.py and read the diff."""
    drawn = runpy.run_path(str(ROOT / "scripts" / "draw_states.py"))["page"]()

    assert (ROOT / "docs" / "states.md").read_text() == drawn
