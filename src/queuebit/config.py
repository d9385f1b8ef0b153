"""One frozen `Config`, from a TOML file, the environment and flags; every default with its source.

Precedence: flags over environment (`QUEUEBIT_PORT=9000`) over file over default.
"""

import hashlib
import uuid
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# A fixed namespace: the same instance name has the same CRN on every machine.
_NAMESPACE = uuid.UUID("6f3c1c9a-3a86-4d4e-9a0e-6d8f1f2b7a51")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BackendConfig(_Frozen):
    """One backend that the service offers."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    snapshot: str
    """Which snapshot of `qiskit_ibm_runtime.fake_provider` it simulates: torino, fez, manila ..."""
    lanes: int = Field(default=5, ge=1, le=64)
    """Jobs running at once. FAQ: "five for most backends today"."""
    qpu_slots: int = Field(default=1, ge=1, le=64)
    """Jobs on the QPU at once; more than one only for plain simulators."""


class PlanConfig(_Frozen):
    """What an instance of this plan may do, and for how long."""

    name: str
    pricing: Literal["free", "trial", "paygo", "paid", "subscription"] = "paid"
    """The client sorts instances by it; rest.md 4.3."""
    sessions: bool = True
    """False on the Open plan: a session is refused with code 1352 (decisions 10)."""
    max_ttl_s: int = Field(default=28_800, ge=1)
    """Default and maximum of a workload's max TTL: 8 h for paid plans (decisions 11)."""
    interactive_ttl_s: int = Field(default=60, ge=1)
    """Guide, "Batch length": "1 minute for all plans" (decisions 2)."""
    unused_ttl_s: int = Field(default=1_800, ge=1)
    """A workload without any job is closed after 30 minutes (decisions 16)."""


class InstanceConfig(_Frozen):
    """Who is charged: the tenant that `Service-CRN` names."""

    name: str
    plan: str = "premium"
    tags: tuple[str, ...] = ()

    @cached_property
    def crn(self) -> str:
        """The instance's CRN; us-east, because only that region adds no host name (client.md 2)."""
        account = hashlib.sha256(_NAMESPACE.bytes).hexdigest()[:32]
        instance = uuid.uuid5(_NAMESPACE, self.name)
        return f"crn:v1:bluemix:public:quantum-computing:us-east:a/{account}:{instance}::"


class UserConfig(_Frozen):
    """Somebody who holds an API key."""

    name: str
    key_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the API key in hexadecimal; the key itself is nowhere in the configuration."""
    instances: tuple[str, ...]


PLANS = (
    PlanConfig(name="premium"),
    PlanConfig(name="open", pricing="free", sessions=False, max_ttl_s=600),
)


class Config(_Frozen):
    """Everything that can be set."""

    host: str = "127.0.0.1"
    port: int = Field(default=8888, ge=0, le=65_535)
    """0: any free port."""
    data: Path = Path("~/.queuebit").expanduser()
    """Folder of the database, the payloads, the key and the certificate."""
    database: str | None = None
    """SQLAlchemy URL; None: SQLite in the data folder."""
    workers: int = Field(default=0, ge=0, le=256)
    """Worker processes; 0: as many as there are processors, at least 2 and at most 5."""
    speed: float = Field(default=1.0, gt=0, le=100_000)
    """How much faster than the wall clock the service's clock runs."""
    hold_ms: int = Field(default=300, ge=0, le=5_000)
    """How long a GET of a running job is held, so that the client's 0.5 s poll hides little."""
    max_body_mb: int = Field(default=64, ge=1)
    """Largest request body; IBM's old limit was 64 MB (semantics 6.2)."""
    backends: tuple[BackendConfig, ...] = (
        BackendConfig(name="fake_torino", snapshot="torino"),
        BackendConfig(name="fake_fez", snapshot="fez"),
        BackendConfig(name="fake_manila", snapshot="manila"),
    )
    plans: tuple[PlanConfig, ...] = PLANS
    instances: tuple[InstanceConfig, ...] = (InstanceConfig(name="local"),)
    users: tuple[UserConfig, ...] = ()
    """Empty: one user "local" of all instances, whose key is made at first start."""
