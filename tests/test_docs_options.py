"""Every option of every program is documented, and does what is said."""

import json
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from pydantic import BaseModel
from tests.pages import section, table

from queuebit.errors import InvalidInput
from queuebit.programs.executor import executor, payload
from queuebit.programs.options import (
    EstimatorOptions,
    NoiseLearnerOptions,
    NoiseLearnerV3Options,
    SamplerOptions,
    parse,
)


def leaves(model, at=""):
    """Every option of `model` by its path, with its default and a legal value that is another."""
    for name, field in model.model_fields.items():
        inner = submodel(field.annotation)
        if inner is not None:
            yield from leaves(inner, f"{at}{name}.")
        else:
            yield f"{at}{name}", field.default, another(field.annotation, field.default)


def submodel(kind):
    found = [kind, *get_args(kind)]
    return next((k for k in found if isinstance(k, type) and issubclass(k, BaseModel)), None)


def another(kind, default):
    """A value that `kind` allows and that is not `default`."""
    if kind is Any:
        return {"some": "thing"}
    if get_origin(kind) is Literal:
        return next(value for value in get_args(kind) if value != default)
    if get_origin(kind) in {Union, UnionType}:
        kinds = [k for k in get_args(kind) if k is not NoneType]
        return another(kinds[0], default)
    if hasattr(kind, "__metadata__"):
        return another(get_args(kind)[0], default)
    others = {int: 77, float: 0.125, str: "linear", list: [2], dict: {"some": 1}}
    return (others | {bool: default is not True})[get_origin(kind) or kind]


def nested(path, value):
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def is_refused(model, path, value):
    try:
        parse(model, nested(path, value))
    except InvalidInput as error:
        told = error.message
    else:
        return False
    return f"option {path}" in told and told.endswith("is not supported by this service yet.")


@pytest.mark.parametrize(
    ("heading", "model"),
    [
        ("Options of the sampler", SamplerOptions),
        ("Options of the estimator", EstimatorOptions),
        ("Options of the noise learner", NoiseLearnerOptions),
        ("Options of the noise learner V3", NoiseLearnerV3Options),
    ],
)
def test_every_option_is_documented_and_does_what_is_said(heading, model):
    rows = {
        row["option"].strip("`"): (
            row["default"],
            row["what becomes of it"].split()[0].strip(",:;"),
        )
        for row in table(section("docs/programs.md", heading))
    }
    options = {path: (default, value) for path, default, value in leaves(model)}

    again = {path for path in rows if path.removeprefix("experimental.") in options}
    assert set(rows) == set(options) | again  # what `experimental` may hold stands there too
    for path, (default, value) in options.items():
        told, becomes = rows[path]
        assert becomes in {"honoured", "refused", "no"}
        assert is_refused(model, path, value) is (becomes == "refused"), path
        if default is None:
            assert told.split(":")[0] in {"none", "by level"}, path
        else:
            assert told == f"`{json.dumps(default)}`", path


def test_every_option_of_the_executor_is_documented():
    """Those of all versions of IBM's schema, and what `experimental` may hold."""
    rows = {
        row["option"].strip("`"): (row["default"], row["what becomes of it"].split()[0].strip(",:"))
        for row in table(section("docs/programs.md", "Options of the executor"))
    }
    options = {
        name: field.get_default(call_default_factory=True)
        for version in payload.VERSIONS.values()
        for name, field in version.models.OptionsModel.model_fields.items()
    }
    options |= {f"experimental.{group}.{name}": None for group, name in executor.HONOURED}

    assert set(rows) == set(options)
    for path, default in options.items():
        told, becomes = rows[path]
        assert becomes in {"honoured", "no"}  # none is refused
        assert told.startswith("none") if default is None else told == f"`{json.dumps(default)}`"


def test_every_part_of_a_program_of_the_executor_is_documented():
    rows = table(section("docs/programs.md", "The executor"))
    parts = {row["part of the program"].strip("`").removeprefix("items[].") for row in rows}
    fields = {
        name
        for version in payload.VERSIONS.values()
        for model in (
            version.models.QuantumProgramModel,
            version.models.CircuitItemModel,
            version.models.SamplexItemModel,
        )
        for name in model.model_fields
    }

    # An item's kind is not the user's to choose, and its circuit is told of under `circuits`.
    assert parts == fields - {"items", "item_type", "circuit"}
