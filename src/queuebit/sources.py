"""Where settings come from: a TOML file, the environment, flags.

Precedence: flags over environment (`QUEUEBIT_PORT=9000`) over file over default.
"""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from queuebit.config import Config
from queuebit.errors import ConfigError

PREFIX = "QUEUEBIT_"  # of the environment variables that are settings


def load(
    file: Path | None = None, environment: Mapping[str, str] | None = None, **flags: Any
) -> Config:
    """Merge `flags` (None: not given) over `environment` over `file` over the defaults.

    `environment` None means the process's own. Raises ConfigError that names the setting, the
    rule and where the value came from.
    """
    sources = {
        "flags": {key: value for key, value in flags.items() if value is not None},
        "environment": _environment(os.environ if environment is None else environment),
        f"file {file}": _file(file) if file is not None else {},
    }
    merged: dict[str, Any] = {}
    for values in reversed(sources.values()):
        merged.update(values)
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        told = "; ".join(_told(detail, sources) for detail in error.errors())
        raise ConfigError(told) from None


def _file(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"file {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"file {file} is not TOML: {error}") from None


def _environment(variables: Mapping[str, str]) -> dict[str, Any]:
    """Collect what the environment sets; lists as JSON, an empty variable sets nothing."""
    found: dict[str, Any] = {}
    for key in Config.model_fields:
        text = variables.get(PREFIX + key.upper(), "")
        if text[:1] in ("[", "{"):
            try:
                found[key] = json.loads(text)
            except json.JSONDecodeError as error:
                raise ConfigError(f"{PREFIX}{key.upper()} is not JSON: {error}") from None
        elif text:
            found[key] = text
    return found


def _told(detail: ErrorDetails, sources: Mapping[str, Mapping[str, Any]]) -> str:
    """Tell one broken rule: which setting, which rule, what was given, and where."""
    path = detail["loc"]
    if not path:  # a rule over several settings, told by us
        return detail["msg"].removeprefix("Value error, ")
    key = str(path[0])
    place = next((name for name, values in sources.items() if key in values), "defaults")
    where = f"{PREFIX}{key.upper()}" if place == "environment" else place
    name = key + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path[1:])
    if detail["type"] == "extra_forbidden":
        return f"{name}: there is no such setting ({where})"
    if detail["type"] == "value_error":  # a rule of ours
        return f"{name}.{detail['msg'].removeprefix('Value error, ')} ({where})"
    if detail["type"] == "missing":
        return f"{name}: is missing ({where})"
    return f"{name}: {detail['msg'].lower()}, not {detail['input']!r} ({where})"
