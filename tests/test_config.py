"""Where settings come from, and what a wrong one says."""

import re
import tomllib
from pathlib import Path

import pytest

from queuebit import scheduling
from queuebit.config import (
    BackendConfig,
    Config,
    InstanceConfig,
    PlanConfig,
    UserConfig,
)
from queuebit.core.model import Calibration, OnLimit
from queuebit.devices.snapshot import Snapshot
from queuebit.errors import ConfigError
from queuebit.sources import load
from queuebit.tenancy import declared

EXAMPLES = Path(__file__).parent.parent / "examples"
EXAMPLE = EXAMPLES / "queuebit.toml"


def written(folder, text):
    file = folder / "queuebit.toml"
    file.write_text(text)
    return file


def refused(file=None, environment=None, **flags):
    with pytest.raises(ConfigError) as caught:
        load(file, environment or {}, **flags)
    return str(caught.value)


def test_nothing_given_is_the_defaults():
    assert load(None, {}) == Config()


def test_flags_go_before_the_environment_before_the_file_before_defaults(tmp_path):
    file = written(tmp_path, 'port = 1\nspeed = 1.5\nhost = "127.0.0.2"\n')

    config = load(file, {"QUEUEBIT_PORT": "2", "QUEUEBIT_SPEED": "2.5"}, port=3)

    assert (config.port, config.speed, config.host) == (3, 2.5, "127.0.0.2")
    assert config.workers == Config().workers


def test_a_flag_that_is_not_given_hides_nothing():
    assert load(None, {"QUEUEBIT_PORT": "2"}, port=None).port == 2


def test_an_empty_variable_sets_nothing():
    assert load(None, {"QUEUEBIT_DATABASE": "", "QUEUEBIT_PORT": ""}) == Config()


def test_lists_come_from_the_environment_as_json():
    config = load(None, {"QUEUEBIT_BACKENDS": '[{"name": "one", "snapshot": "fez"}]'})

    assert config.backends == (BackendConfig(name="one", snapshot="fez"),)


def test_the_process_environment_counts(monkeypatch):
    monkeypatch.setenv("QUEUEBIT_PORT", "4")

    assert load().port == 4


def test_the_home_of_the_data_folder_is_found(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))

    assert Config().data == tmp_path / ".queuebit"
    assert load(None, {"QUEUEBIT_DATA": "~/elsewhere"}).data == tmp_path / "elsewhere"


def test_the_database_is_in_the_data_folder_unless_told_otherwise(tmp_path):
    assert (
        load(None, {}, data=tmp_path).database_url == f"sqlite+aiosqlite:///{tmp_path}/queuebit.db"
    )
    assert load(None, {}, database="postgresql://x/y").database_url == "postgresql://x/y"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"port": 70_000}, "port: input should be less than or equal to 65535, not 70000 (flags)"),
        (
            {"environment": {"QUEUEBIT_SPEED": "-1"}},
            "speed: input should be greater than 0, not '-1' (QUEUEBIT_SPEED)",
        ),
        ({"prot": 1}, "prot: there is no such setting (flags)"),
        ({"backends": [{"name": "one"}]}, "backends[0].snapshot: is missing (flags)"),
        ({"backends": []}, "backends: at least one is needed"),
        (
            {"backends": [{"name": "a", "snapshot": "fez"}, {"name": "a", "snapshot": "fez"}]},
            "backends: 'a' is given twice",
        ),
        (
            {"instances": [{"name": "lab", "plan": "gold"}]},
            "instances.lab: plan 'gold' is not one of premium, open, pay-as-you-go, flex, on-prem",
        ),
        (
            {"users": [{"name": "ada", "key_sha256": "0" * 64, "instances": ["lab"]}]},
            "users.ada: instance 'lab' is not one of local",
        ),
    ],
)
def test_a_mistake_names_the_setting_the_rule_and_the_source(given, told):
    assert refused(**given) == told


def test_a_mistake_in_the_file_names_the_file(tmp_path):
    file = written(tmp_path, "[[backends]]\nname = 'one'\nsnapshot = 'fez'\nlanes = 0\n")

    told = f"backends[0].lanes: input should be greater than or equal to 1, not 0 (file {file})"
    assert refused(file) == told


def test_every_mistake_is_told_at_once():
    assert refused(port=-1, speed=0).count("input should be") == 2


def test_a_file_that_is_no_toml_says_where(tmp_path):
    file = written(tmp_path, "port = 1\nhost =\n")

    assert re.fullmatch(
        rf"file {file} is not TOML: Invalid value \(at line 2, column 7\)", refused(file)
    )


def test_a_file_that_is_not_there_says_so(tmp_path):
    file = tmp_path / "none.toml"

    assert refused(file) == f"file {file} cannot be read: No such file or directory"


def test_a_variable_that_is_no_json_is_named():
    assert refused(environment={"QUEUEBIT_USERS": "[{"}).startswith("QUEUEBIT_USERS is not JSON")


def test_the_example_file_shows_the_defaults():
    assert load(EXAMPLE, {}) == Config()


def test_the_example_file_names_every_setting():
    text = EXAMPLE.read_text()

    for kind in (Config, BackendConfig, PlanConfig, InstanceConfig, UserConfig):
        for key in kind.model_fields:
            assert re.search(rf"^(# )?(\[\[)?{key}\b", text, re.MULTILINE), f"{kind} {key}"


def test_what_the_example_file_comments_out_is_right_too():
    text = EXAMPLE.read_text()
    text = re.sub(r"^# (\w+ = .*|\[\[users\]\])$", r"\1", text, flags=re.MULTILINE)

    config = Config.model_validate(tomllib.loads(text))

    assert [user.name for user in config.users] == ["ada"]
    assert config.database is not None


def test_the_example_of_a_laboratory_is_what_it_says():
    config = load(EXAMPLES / "lab.toml", {})
    theory, devices, course = scheduling.instances(
        declared(config, None).instances.values(), config.plans
    )
    torino, manila, *_ = scheduling.backends(config)
    plans = {plan.name: plan for plan in config.plans}
    admins = [user.name for user in config.users if user.admin]

    assert theory.allocation_ms == 2 * devices.allocation_ms
    assert (theory.limit_ms, devices.limit_ms) == (None, None)
    assert (course.limit_ms, course.on_limit, course.pending_max) == (600_000, OnLimit.WAIT, 20)
    assert [plans[one.plan].sessions for one in config.instances] == [True, True, False]
    assert torino.calibrations == (
        Calibration(kind="monitoring", every_ms=3_600_000, lasts_ms=120_000, drift=0.1),
        Calibration(kind="benchmarking", every_ms=86_400_000, lasts_ms=1_200_000),
    )
    assert manila.calibrations == ()
    assert {one.name: one.charges for one in scheduling.backends(config)} == {
        "fake_torino": True,
        "fake_manila": True,
        "mock_torino": False,
        "mock_manila": False,
    }
    assert [Snapshot(one).name for one in config.backends] == ["fake_torino", "fake_manila"]
    assert admins == ["ada"]


def test_a_plans_default_ttl_is_at_most_its_most():
    with pytest.raises(ConfigError, match="default_ttl_s 601 is over max_ttl_s 600"):
        load(None, {}, plans=[{"name": "premium", "max_ttl_s": 600, "default_ttl_s": 601}])


def test_nobody_is_an_administrator_unless_said():
    user = UserConfig(name="ada", key_sha256="0" * 64, instances=("local",))

    assert not user.admin
