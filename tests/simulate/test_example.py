"""The example "N PUBs in one job, or N jobs in a batch", and the page that tells of it."""

import re
import runpy
from pathlib import Path

import pytest
from tests.simulate.traces import EXAMPLES

from queuebit.simulate.lines import EntryLine, HeadLine
from queuebit.simulate.load import Load
from queuebit.simulate.reading import parse
from queuebit.simulate.whatif import WhatIf

PAGE = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text()


@pytest.fixture(scope="module")
def alone():
    """Time and usage of each way, on an idle QPU."""
    example = runpy.run_path(str(EXAMPLES / "n_pubs.py"))
    return {way: example["mine"](example["alone"](way)) for way in example["WAYS"]}


def test_a_batch_is_faster_and_a_little_dearer(alone):
    one_job, batch = alone["one job of 10 PUBs"], alone["10 jobs in a batch"]

    assert batch[0] < 0.6 * one_job[0]
    assert one_job[1] < batch[1] < 1.5 * one_job[1]


def test_a_session_pays_for_wall_clock(alone):
    for way in ("10 jobs in a session, at once", "10 jobs in a session, in a loop"):
        total_s, usage_s = alone[way]
        assert usage_s == total_s


def test_the_page_has_the_examples_numbers(alone):
    for way, (total_s, usage_s) in alone.items():
        cells = rf"\| {re.escape(way)} \| {total_s:.0f} s \| \d+ s \| {usage_s:.0f} s \| \d+ s \|"
        assert re.search(cells, PAGE)


def test_the_picture_is_small():
    assert (EXAMPLES / "n_pubs.svg").stat().st_size < 100_000


def test_the_pages_trace_can_be_read():
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)

    assert len(parse(block.splitlines()).entries) == 5


def test_the_page_tells_every_field_what_if_and_load():
    models = [EntryLine, HeadLine, WhatIf, Load]
    names = {name for model in models for name in _fields(model)}

    assert {name for name in names if f"`{name}`" not in PAGE} == set()


def _fields(model):
    """Names of the fields of a model and of the models in it."""
    for name, field in model.model_fields.items():
        yield name
        for inner in re.findall(r"\w+Line", str(field.annotation)):
            yield from _fields(
                getattr(__import__("queuebit.simulate.lines", fromlist=["x"]), inner)
            )
