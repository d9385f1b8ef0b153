"""The pages are true and complete: settings, routes, commands, options, links, running code."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
import typer.main
from pydantic_core import PydanticUndefined
from starlette.routing import Route
from tests.pages import FENCE, PAGES, ROOT, TICKED, code, page, section, table

from queuebit import config as settings
from queuebit.api import problems
from queuebit.api.routes import PREFIX, create_app
from queuebit.api.trail import Watch
from queuebit.cli.main import app as commands

COMMANDS = {
    f"{name} {sub}" if sub else name: command
    for name, group in typer.main.get_command(commands).commands.items()
    for sub, command in getattr(group, "commands", {"": group}).items()
}


# Settings


def shown(default):
    """A default as the tables show it."""
    if default is None:
        return "none"
    if isinstance(default, Path):
        default = str(default)
    if isinstance(default, tuple):
        default = list(default)
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


LISTS = {"backends": "three", "plans": "five", "instances": "one", "users": "none"}
"""Settings that are told in sections of their own, and how many items each has by default."""


def test_every_setting_of_the_service_is_documented_with_all_ways_to_set_it():
    flags = {name for option in COMMANDS["serve"].params for name in option.opts}
    expected = {}
    for name, field in settings.Config.model_fields.items():
        flag = f"--{name.replace('_', '-')}"
        default = f"[{LISTS[name]}](#{name})" if name in LISTS else shown(field.default)
        variable = f"`QUEUEBIT_{name.upper()}`"
        expected[f"`{name}`"] = (default, variable, f"`{flag}`" if flag in flags else "")

    rows = table(section("docs/settings.md", "The service"))

    assert {
        row["setting"]: (row["default"], row["environment"], row["flag"]) for row in rows
    } == expected


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("Backends", settings.BackendConfig),
        ("Calibrations", settings.CalibrationConfig),
        ("Plans", settings.PlanConfig),
        ("Instances", settings.InstanceConfig),
        ("Users", settings.UserConfig),
    ],
)
def test_every_setting_in_a_list_is_documented(heading, model):
    expected = {
        f"`{name}`": "required" if field.default is PydanticUndefined else shown(field.default)
        for name, field in model.model_fields.items()
    }

    rows = table(section("docs/settings.md", heading))

    assert {row["setting"]: row["default"] for row in rows} == expected


def test_what_there_is_without_configuration_is_told():
    assert [len(settings.Config.model_fields[name].default) for name in LISTS] == [3, 5, 1, 0]
    for name in ("backends", "plans", "instances"):
        for item in settings.Config.model_fields[name].default:
            assert f"`{item.name}`" in section("docs/settings.md", name.capitalize())


# Routes


@pytest.fixture(scope="module")
def app():
    return create_app(SimpleNamespace(config=settings.Config(), watch=Watch()))


def test_every_route_is_documented_and_every_documented_route_is_served(app):
    served = {
        (method.upper(), path)
        for path, methods in app.openapi()["paths"].items()
        for method in methods
    }
    served |= {("GET", route.path) for route in app.routes if isinstance(route, Route)}

    rows = [row for row in table(page("docs/endpoints.md")) if "method" in row]

    assert sorted((row["method"], row["path"].strip("`")) for row in rows) == sorted(served)


async def test_the_prefix_may_be_left_out(app):
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://queuebit"
    ) as client:
        answers = [await client.get(f"{prefix}/versions") for prefix in ("", PREFIX)]

    assert [answer.status_code for answer in answers] == [200, 200]


def test_every_error_code_is_documented():
    ours = {
        value
        for name, value in vars(problems).items()
        if name.isupper() and isinstance(value, int) and 1000 <= value <= 9999
    }
    for file in (ROOT / "src" / "queuebit").rglob("*.py"):
        ours |= {
            int(found)
            for found in re.findall(r"(?:code=|^CODE_\w+ = )(\d{4})\b", file.read_text("utf-8"))
        }

    rows = table(section("docs/endpoints.md", "Errors"))

    assert ours <= {int(row["code"]) for row in rows if row["code"].isdecimal()}


# Commands


LOADING = {"serve", "login", "doctor", "simulate"}
"""Commands that read settings, and so their variables."""


def options_of(name):
    """Every option of a command, with the variable that stands for it."""
    found = {}
    for option in COMMANDS[name].params:
        if option.param_type_name == "option":
            setting = name in LOADING and option.name in settings.Config.model_fields
            variable = f"QUEUEBIT_{option.name.upper()}" if setting else option.envvar
            spelt = (*option.opts, *option.secondary_opts)
            found |= dict.fromkeys(spelt, f"`{variable}`" if variable else "")
    return found


def documented(text):
    return {
        name: row["environment"] for row in table(text) for name in TICKED.findall(row["option"])
    }


def test_every_command_and_option_is_documented():
    common = section("docs/commands.md", "Options of commands that ask a service")
    found = {}
    for name, command in COMMANDS.items():
        arguments = [p.metavar for p in command.params if p.param_type_name == "argument"]
        heading = " ".join([f"`queuebit {name}", *arguments]) + "`"
        found[name] = documented(section("docs/commands.md", heading))
        if f"`{name}`" in common:
            found[name] |= documented(common)

    assert found == {name: options_of(name) for name in COMMANDS}
    assert page("docs/commands.md").count("\n## `queuebit ") == len(COMMANDS)


def test_commands_in_shell_blocks_exist():
    lines = [
        line.split("#")[0].split()
        for path in PAGES
        for block in code(path.read_text("utf-8"), "sh")
        for line in re.sub(r'eval "\$\((.*)\)"', r"\1", block).splitlines()
    ]
    used = [words for words in lines if words[:1] == ["queuebit"]]

    assert len(used) > 3
    for words in used:
        name = words[1] if words[1] in COMMANDS else " ".join(words[1:3])
        assert {word for word in words if word.startswith("--")} <= set(options_of(name))


# Links and code


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def links():
    for path in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", path.read_text("utf-8"))):
            if not re.match(r"\w+:", target):
                yield pytest.param(path, target, id=f"{path.name}:{target}")


@pytest.mark.parametrize(("path", "target"), list(links()))
def test_every_link_leads_somewhere(path, target):
    file, _, anchor = target.partition("#")
    there = (path.parent / file).resolve() if file else path

    assert there.exists()
    if anchor:
        headings = re.findall(r"^#+ (.*)$", there.read_text("utf-8"), re.MULTILINE)
        assert anchor in map(slug, headings)


def test_every_page_can_be_found_from_the_readme():
    for path in ROOT.glob("docs/*.md"):
        assert f"(docs/{path.name})" in page("README.md")


def test_files_that_pages_name_exist():
    for path in PAGES:
        for name in re.findall(
            r"`((?:src|tests|docs|scripts|examples)/[\w./-]+)`", path.read_text("utf-8")
        ):
            assert (ROOT / name).exists() or "NAME" in name, f"{path.name}: {name}"


@pytest.mark.parametrize("folder", ["programs", "devices"])
def test_every_file_of_a_large_folder_is_in_the_architecture(folder):
    top = ROOT / "src" / "queuebit" / folder
    found = (path.relative_to(top).with_suffix("") for path in top.rglob("*.py"))
    files = [path.as_posix() for path in found if path.name != "__init__"]

    rows = table(section("docs/architecture.md", folder.capitalize()))

    assert sorted(name for row in rows for name in TICKED.findall(row["file"])) == sorted(files)


def test_the_example_in_the_page_of_testing_is_the_file():
    example, *_ = code(page("docs/testing.md"), "py")

    assert example in page("examples/pytest_example.py")


def test_the_code_in_the_page_of_devices_is_that_of_the_example_and_of_tests():
    files = [*ROOT.glob("examples/aer_device/*.py"), *ROOT.glob("tests/outside/*.py")]
    blocks = code(page("docs/devices.md"), "py")

    assert len(blocks) == 2
    for block in blocks:
        assert any(block in file.read_text("utf-8") for file in files), block


BLOCKS = [
    (path.name, number, block)
    for path in PAGES
    for number, block in enumerate(code(path.read_text("utf-8"), "python"))
]

RUNNER = """
import json, sys, traceback
for name, number, block in json.load(open(sys.argv[1])):
    try:
        exec(compile(block, f"{name}, block {number}", "exec"), {"__name__": "__main__"})
    except Exception:
        traceback.print_exc()
        sys.exit(f"{name}, block {number} fails")
    print(f"{name}, block {number} ran")
"""


def test_the_python_code_of_all_pages_runs(queuebit_service, tmp_path):
    """After `queuebit login`, with the real client, in a home folder of its own."""
    service = queuebit_service
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("QISKIT_", "QUEUEBIT_"))
        and not name.upper().endswith(("_PROXY", "_CA_BUNDLE"))
    } | {"HOME": str(tmp_path)}
    there = [
        (
            name,
            number,
            block.replace("http://127.0.0.1:8888", service.url).replace("KEY", service.key),
        )
        for name, number, block in BLOCKS
    ]
    (tmp_path / "blocks.json").write_text(json.dumps(there))
    login = ["-m", "queuebit", "login", "--url", service.url, "--data", str(service.data)]

    for arguments in (login, ["-W", "ignore", "-c", RUNNER, str(tmp_path / "blocks.json")]):
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr[-2000:]

    assert {name for name, *_ in BLOCKS} == {"README.md", "connecting.md", "testing.md"}
    assert done.stdout.count(" ran\n") == len(BLOCKS)
    assert "Closed" in done.stdout
    assert "fake_torino" in done.stdout
