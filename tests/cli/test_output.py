"""Other people's text reaches a terminal without commanding it."""

import json

import pytest

from queuebit.cli.main import _tell
from queuebit.cli.output import print_fields, print_json, print_table, printable

EVIL = {
    "escape": "\x1b]0;owned\x07",
    "csi of one byte": "\x9b31m",
    "backspaces": "ok\b\bno",
    "carriage return": "ok\rno",
    "new line": "ok\nqueuebit: Completed",
    "delete": "\x7f",
    "right to left": "\u202etxt.exe",
    "no width": "a\u200bb",
    "half": "\ud800",
    "tag": "\U000e0041",
}


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_what_is_printed_has_no_character_that_commands(capsys, text):
    print_table(["Tags"], [[text]], empty="")
    print_fields([("Reason", text)])
    print_json({"tags": [text]})
    _tell(f"there is no job {text}")
    shown = "".join(capsys.readouterr())

    assert all(character.isprintable() or character == "\n" for character in shown)
    assert shown.count("\\") >= 3
    shown.encode()


@pytest.mark.parametrize("text", EVIL.values(), ids=EVIL)
def test_json_is_the_same_text(capsys, text):
    print_json({"tags": [text], "more": {"é": 1}})

    assert json.loads(capsys.readouterr().out) == {"tags": [text], "more": {"é": 1}}


@pytest.mark.parametrize("text", ["", "a b", "ψ → é 中 🙂", "C:\\new"])
def test_other_text_stays_as_it_is(text):
    assert printable(text) == text
