"""Writes docs/openapi.json: the API as the code has it."""

import json
from pathlib import Path
from types import SimpleNamespace

from queuebit.api.routes import create_app
from queuebit.config import Config

FILE = Path(__file__).parent.parent / "docs" / "openapi.json"


def text() -> str:
    """The whole file."""
    app = create_app(SimpleNamespace(config=Config()))
    return json.dumps(app.openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
