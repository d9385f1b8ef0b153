"""One frozen `Config`: every setting, with its default and where that comes from."""

import hashlib
import ipaddress
import re
import uuid
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

from queuebit.limiting import LimitingConfig
from queuebit.watching import WatchingConfig

SIMULATED = "simulated"
MOCK = "mock"

NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,62}[A-Za-z0-9]$|^[A-Za-z0-9]$"
"""Names of instances, accounts and users: they stand in URLs, tables and logs."""

# A fixed namespace: the same ids give the same CRNs on every machine.
NAMESPACE = uuid.UUID("6f3c1c9a-3a86-4d4e-9a0e-6d8f1f2b7a51")


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise ValueError(f"{error}; give addresses, or networks such as 10.1.0.0/16") from None
    return text


Network = Annotated[str, AfterValidator(_network)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


DynamicCircuits = Literal["ibm", "all"]


class CalibrationConfig(_Frozen):
    """Work on the QPU itself that comes again and again, as IBM's monitoring jobs do."""

    kind: str = Field(min_length=1, max_length=64)
    every_s: float = Field(gt=0)
    """From the end of one to when the next is due. Docs: parameter monitoring "about hourly"."""
    lasts_s: float = Field(gt=0)
    drift: float = Field(default=0, ge=0, le=1)
    """How far it scatters T1, T2 and errors around the snapshot's: 0.1 is about 10 percent."""


class BackendConfig(_Frozen):
    """One backend that the service offers."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    device: str = SIMULATED
    """What runs its jobs: "simulated", or the name of a device from outside (docs/devices.md)."""
    snapshot: str | None = None
    """Which snapshot of `qiskit_ibm_runtime.fake_provider` it is like: torino, fez, manila ..."""
    fractional: bool = False
    """Whether it also offers those of the gates rx and rzz that the snapshot has data of."""
    options: dict[str, Any] = {}
    """For a device from outside, which says what there is."""
    lanes: int = Field(default=5, ge=1, le=64)
    """Jobs running at once. FAQ: "five for most backends today"."""
    qpu_slots: int = Field(default=1, ge=1, le=64)
    """Jobs on the QPU at once; more than one only for plain simulators."""
    timing: Literal["simulated", "real"] = "simulated"
    """How long a job has the QPU: while the simulation runs, or for the QPU time it is charged."""
    dynamic_circuits: DynamicCircuits = "ibm"
    """What a simulated QPU takes: what IBM's take, or all that the simulator can run."""
    calibrations: tuple[CalibrationConfig, ...] = ()
    """None by default. Between two jobs on the QPU, never in an active session (decisions 6)."""

    @model_validator(mode="after")
    def _simulation_has_a_snapshot(self) -> Self:
        """A device from outside may do without one, and may have options."""
        if self.device == SIMULATED and self.snapshot is None:
            raise ValueError("snapshot: is missing")
        if self.device == SIMULATED and self.options:
            raise ValueError("options: are for devices from outside")
        if self.snapshot is None and self.fractional:
            raise ValueError("fractional: is for snapshots")
        if self.device != SIMULATED and any(one.drift for one in self.calibrations):
            raise ValueError("calibrations: drift is for simulated devices")
        return self


class MockConfig(BackendConfig):
    """What stands beside a backend for dry runs; made by `Config`, never configured."""

    name: str
    of: str
    """Name of the backend that it is like."""


class PlanConfig(_Frozen):
    """What an instance of this plan may do, and for how long."""

    name: str
    pricing: Literal["free", "trial", "paygo", "paid", "subscription"] = "paid"
    """The client sorts instances by it; docs/endpoints.md."""
    sessions: bool | Literal["batch"] = True
    """False on the Open plan: a session is refused with code 1352. "batch": it is opened as one."""
    max_ttl_s: int = Field(default=28_800, ge=1)
    """The most that a workload's max TTL may be: 8 h for paid plans (decisions 11)."""
    default_ttl_s: int | None = Field(default=None, ge=1)
    """Max TTL of a workload whose user asks for none; None: the most."""
    interactive_ttl_s: int = Field(default=60, ge=1)
    """Guide, "Batch length": "1 minute for all plans" (decisions 2)."""
    idle_batches: Literal["deactivate", "close"] = "deactivate"
    """What the interactive TTL does to a batch. Guide: "temporarily deactivated" (decisions 7)."""
    unused_ttl_s: int = Field(default=1_800, ge=1)
    """A workload without any job is closed after 30 minutes (decisions 16)."""
    window_days: Annotated[float, Field(gt=0)] | Literal["none"] = 28
    """How far back usage counts; "none": since the instance's `since`. "Rolling 28 days"."""
    limit_s: float | None = Field(default=None, ge=0)
    """Most QPU time in the window, of instances that have no limit of their own; None: none."""
    on_limit: Literal["wait", "stop"] = "wait"
    """What happens then: new jobs wait, or running jobs stop and new ones are refused."""
    budget: Literal["soft", "hard"] = "soft"
    """Whether a job may go beyond a limit, as at IBM; or what does not fit in it is refused."""
    user_limit_s: float | None = Field(default=None, ge=0)
    """Most QPU time in the window of each user of an instance, with a hard budget; None: none."""
    credit_s: float = Field(default=600, ge=0)
    """Most QPU time in the window that faults of the service waste and nobody is charged for."""
    pending_max: int | None = Field(default=None, ge=1)
    """Most jobs of one instance queued or running at once; None: no limit."""
    open_sessions_max: int | None = Field(default=200, ge=1)
    """Most batches and sessions of one instance that are open at once; None: no limit."""
    kept_jobs_max: int | None = Field(default=None, ge=1)
    """Most jobs of one instance that are kept, ended ones included; None: no limit."""
    storage_mb: int | None = Field(default=None, ge=1)
    """MiB that inputs and results of one instance may take; None: no limit."""
    submits_per_minute: int | None = Field(default=None, ge=1)
    """Most jobs that one user submits to one instance in a minute. OpenAPI: 5; None: no limit."""

    @model_validator(mode="after")
    def _budget_can_be_kept(self) -> Self:
        """A session is charged for all the time it is active, which nobody knows beforehand."""
        if self.budget == "hard" and self.sessions is True:
            raise ValueError('budget = "hard": needs sessions = "batch" or false')
        if self.budget == "soft" and self.user_limit_s is not None:
            raise ValueError('user_limit_s: needs budget = "hard"')
        return self

    @model_validator(mode="after")
    def _default_is_allowed(self) -> Self:
        if self.default_ttl_s is not None and self.default_ttl_s > self.max_ttl_s:
            raise ValueError(
                f"default_ttl_s {self.default_ttl_s} is over max_ttl_s {self.max_ttl_s}"
            )
        return self


class InstanceConfig(_Frozen):
    """Who is charged: the tenant that `Service-CRN` names."""

    name: str = Field(pattern=NAME)
    plan: str = "premium"
    account: str = Field(default="local", pattern=NAME)
    """Which account it belongs to: several may share one."""
    tags: tuple[str, ...] = ()
    allocation_s: float = Field(default=36_000, ge=0)
    """Weight in the fair share: who has used the least part of it goes first; only ratios count."""
    limit_s: float | None = Field(default=None, ge=0)
    """Most QPU time in the window; None: the plan's."""
    since: datetime | None = None
    """Usage before it does not count, as before a contract's start; None: all counts."""

    @property
    def account_id(self) -> str:
        """What IBM's API calls the account: 32 hexadecimal digits."""
        return hashlib.sha256(NAMESPACE.bytes + self.account.encode()).hexdigest()[:32]


class UserConfig(_Frozen):
    """Somebody who holds an API key."""

    name: str = Field(pattern=NAME)
    key_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the API key in hexadecimal; the key itself is nowhere in the configuration."""
    instances: tuple[str, ...]
    role: Literal["manager", "member", "reader"] = "member"
    """In these instances: manages, runs jobs, or only reads."""
    admin: bool = False
    """Administers the service: backends, instances, users and keys."""


BACKENDS = (
    BackendConfig(name="fake_torino", snapshot="torino"),
    BackendConfig(name="fake_fez", snapshot="fez"),
    BackendConfig(name="fake_manila", snapshot="manila"),
)

PLANS = (
    PlanConfig(name="premium"),
    # "10 min / rolling 28 days", no sessions (semantics 8).
    PlanConfig(name="open", pricing="free", sessions=False, max_ttl_s=600, limit_s=600),
    PlanConfig(name="pay-as-you-go", pricing="paygo", window_days="none", on_limit="stop"),
    PlanConfig(name="flex", pricing="subscription", window_days="none"),
    PlanConfig(name="on-prem", window_days="none"),
)


class Config(WatchingConfig, LimitingConfig, _Frozen):
    """Everything that can be set."""

    host: str = "127.0.0.1"
    port: int = Field(default=8888, ge=0, le=65_535)
    """0: any free port."""
    tls_cert: Annotated[Path, AfterValidator(Path.expanduser)] | None = None
    """PEM file of the certificate, with those between it and the authority behind it."""
    tls_key: Annotated[Path, AfterValidator(Path.expanduser)] | None = None
    """PEM file of its private key. With both, the whole port speaks TLS."""
    insecure: bool = False
    """Whether other machines may reach it without TLS: keys cross the network in the clear."""
    trusted_proxies: tuple[Network, ...] = ("127.0.0.1", "::1")
    """Addresses of reverse proxies, whose X-Forwarded-Proto and X-Forwarded-For are believed."""
    data: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        default=Path("~/.queuebit"), validate_default=True
    )
    """Folder of the database, the payloads, the key and the certificate."""
    database: str | None = None
    """SQLAlchemy URL; None: SQLite in the data folder."""
    database_wait_s: float = Field(default=60, ge=0, le=86_400)
    """How long a start and a save wait for a database that is away, or for a full disk."""
    reserve_mb: int = Field(default=16, ge=0)
    """Room on the disk for the database alone; at most a twentieth of a small file system."""
    keep_days: float | None = Field(default=None, gt=0)
    """How long jobs are kept after their end; None: until their users delete them."""
    keep_inputs_days: float | None = Field(default=None, gt=0)
    """How long inputs are; None: as long as their jobs."""
    keep_results_days: float | None = Field(default=None, gt=0)
    """How long results are; None: as long as their jobs."""
    workers: int = Field(default=0, ge=0, le=256)
    """Worker processes; 0: as many as there are processors, at least 2 and at most 5."""
    worker_memory_mb: int = Field(default=0, ge=0)
    """Memory, in MiB, that one worker may take; 0: its share of what is free at the start."""
    worker_network: bool | None = None
    """Whether workers reach the network; None: only where a backend's device is from outside."""
    worker_variables: tuple[str, ...] = ()
    """Environment variables that workers inherit besides, say with a vendor's credentials."""
    speed: float = Field(default=1.0, gt=0, le=100_000)
    """How much faster than the wall clock the service's clock runs."""
    hold_ms: int = Field(default=300, ge=0, le=5_000)
    """How long a GET of a running job is held, so that the client's 0.5 s poll hides little."""
    max_body_mb: int = Field(default=64, ge=1)
    """Largest request body; IBM's old limit was 64 MB (semantics 6.2)."""
    mocks: bool = True
    """Whether there is a mock beside each backend, for the client's dry runs."""
    backends: tuple[BackendConfig, ...] = BACKENDS
    plans: tuple[PlanConfig, ...] = PLANS
    instances: tuple[InstanceConfig, ...] = (InstanceConfig(name="local"),)
    users: tuple[UserConfig, ...] = ()
    """Empty: one, "local", of all instances, an administrator; the first start makes the key."""

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the database, wherever it is."""
        return self.database or f"sqlite+aiosqlite:///{self.data.resolve() / 'queuebit.db'}"

    @property
    def shown_database_url(self) -> str:
        """The same without a password, for logs and errors."""
        return re.sub(r"(://[^:/@]*):[^@/]*@", r"\1:***@", self.database_url)

    @cached_property
    def offered(self) -> tuple[BackendConfig, ...]:
        """The backends, and their mocks behind them.

        Backends that are alike share a mock. If one name would stand for backends that are not
        alike, there is no such mock: a dry run must not check a job against the wrong device.
        """
        if not self.mocks:
            return self.backends
        found: dict[str, list[MockConfig]] = {}
        for backend in self.backends:
            mock = _mock(backend)
            found.setdefault(mock.name, []).append(mock)
        mocks = [same[0] for same in found.values() if len({_likeness(one) for one in same}) == 1]
        return (*self.backends, *mocks)

    @model_validator(mode="after")
    def _strangers_see_nothing(self) -> Self:
        """What other machines reach has TLS and users, or somebody said that it need not."""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key: one is of no use without the other")
        if self.tls_cert is None and not self.insecure and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} lets other machines in, and without TLS whoever is on the way "
                "reads keys and results: give tls_cert and tls_key, or have a reverse proxy with "
                "TLS on this machine and host 127.0.0.1, or trust the network with --insecure"
            )
        if not self.users and not self.insecure and not is_loopback(self.host):
            raise ValueError(
                f"host {self.host!r} lets other machines in, and the one key of the first start "
                "administers everything: name users in the configuration, or say --insecure"
            )
        return self

    @model_validator(mode="after")
    def _mocks_have_names_of_their_own(self) -> Self:
        """The client's dry run sends `mock_torino` for `fake_torino`, and `_torino` as it is."""
        for backend in self.backends if self.mocks else ():
            if mock_name(backend.name) == backend.name:
                raise ValueError(
                    f"backends: {backend.name!r} would be taken for a mock, or have none; names "
                    'that begin with "_", and "mock", are for services with mocks = false'
                )
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        """Every name is given once, and every name used is given."""
        for key in ("backends", "instances"):
            if not getattr(self, key):
                raise ValueError(f"{key}: at least one is needed")
        for key in ("backends", "plans", "instances", "users"):
            _assert_unique(key, (item.name for item in getattr(self, key)))
        _assert_unique("users.key_sha256", (user.key_sha256 for user in self.users))
        plans = [plan.name for plan in self.plans]
        for instance in self.instances:
            _assert_known(f"instances.{instance.name}: plan", instance.plan, plans)
        instances = [instance.name for instance in self.instances]
        for user in self.users:
            for name in user.instances:
                _assert_known(f"users.{user.name}: instance", name, instances)
        return self


def is_loopback(host: str) -> bool:
    """Only this machine reaches `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def mock_name(name: str) -> str:
    """Whither the client's `dry_run=True` sends what is for backend `name`."""
    return re.sub(r"^[^_]+", MOCK, name)


def _mock(backend: BackendConfig) -> MockConfig:
    """Its mock: QPU time is neither taken nor charged, so it needs no calibration and no timing."""
    changes = {"name": mock_name(backend.name), "of": backend.name, "timing": SIMULATED}
    return MockConfig.model_validate(dict(backend) | changes | {"calibrations": ()})


def _likeness(mock: MockConfig) -> str:
    """What a mock's checks depend on; equal for backends that may share one."""
    kept = {"device", "snapshot", "fractional", "options", "dynamic_circuits"}
    return mock.model_dump_json(include=kept)


def _assert_unique(key: str, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{key}: {twice[0]!r} is given twice")


def _assert_known(key: str, name: str, known: list[str]) -> None:
    if name not in known:
        raise ValueError(f"{key} {name!r} is not one of {', '.join(known)}")
