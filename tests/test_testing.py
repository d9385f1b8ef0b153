"""A service inside a test: the context manager and the plugin, as users have them."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from queuebit import testing
from queuebit.errors import ConfigError

EXAMPLE = Path(__file__).parent.parent / "examples" / "pytest_example.py"


def test_loading_the_plugin_is_cheap():
    code = (
        "import queuebit.testing, sys;"
        "print(sorted({'qiskit', 'fastapi', 'pydantic', 'sqlalchemy', 'numpy'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "[]\n"


def test_a_service_comes_and_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    before = threading.active_count()

    with testing.service(backends=[{"name": "small", "snapshot": "manila"}]) as running:
        names = [backend.name for backend in running.connect().backends()]
        data = running.data
        assert data.is_dir()

    assert names == ["small"]
    assert not data.exists()
    assert threading.active_count() == before
    assert not (tmp_path / ".qiskit" / "qiskit-ibm.json").exists()


def test_an_error_of_the_start_is_raised_here():
    with pytest.raises(ConfigError, match="atlantis"):  # noqa: SIM117 - the block must not run
        with testing.service(backends=[{"name": "x", "snapshot": "atlantis"}]):
            raise AssertionError


def test_a_wrong_setting_is_refused():
    with (
        pytest.raises(ConfigError, match="prot: there is no such setting"),
        testing.service(prot=1),
    ):
        raise AssertionError


def test_the_environment_sets_nothing(monkeypatch):
    monkeypatch.setenv("QUEUEBIT_BACKENDS", "[]")

    with testing.service():
        pass


def test_an_error_in_the_block_comes_out_and_the_service_stops():
    class MineError(Exception):
        pass

    with pytest.raises(MineError), testing.service() as running:  # noqa: PT012 - that is the test
        data = running.data
        raise MineError

    assert not data.exists()


def test_a_data_folder_of_ones_own_stays(tmp_path):
    with testing.service(data=tmp_path) as running:
        key = running.key

    assert (tmp_path / "api-key").read_text().strip() == key


def test_the_fixtures_serve_a_users_test(tmp_path):
    """In a project of its own, whose settings are not ours."""
    shutil.copy(EXAMPLE, tmp_path / "test_example.py")
    (tmp_path / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.fixture(scope='session')\n"
        "def queuebit_settings():\n"
        "    return {'workers': 1, 'backends': [{'name': 'fake_torino', 'snapshot': 'torino'}]}\n"
    )
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings =\n    error\n    ignore:The SamplerV2 class is deprecated\n"
        "asyncio_default_fixture_loop_scope = function\n"
    )
    environment = os.environ | {"HOME": str(tmp_path)}

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(tmp_path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "1 passed" in done.stdout, done.stdout
    assert done.returncode == 0
