"""Who asks, and for which instance: API keys, IAM tokens, `Service-CRN` (docs/endpoints.md)."""

import asyncio
import os
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import jwt

from queuebit.api.problems import BAD_CRN, INVALID_CREDENTIALS, NOT_AUTHORIZED, UNKNOWN_INSTANCE
from queuebit.api.trail import of_thing
from queuebit.config import Config, PlanConfig
from queuebit.errors import ConfigError, InvalidInput, NotFound, Unauthorized
from queuebit.store.audit import Entry
from queuebit.tenancy import Directory, Grant, InstanceRecord, Key, Role, User, declared, digest

# The client compares with its own clock, so a skewed one must still find the token young
# (docs/connecting.md).
TOKEN_TTL_S = 86_400
SKEW_S = 60  # how far our own clock may step back before a token that we gave is "from the future"

# A fixed namespace: the same plan has the same id on every machine.
_NAMESPACE = uuid.UUID("0b5a3f0e-5b0c-4a43-8f0d-3f3f3c0e2c11")
# IBM Cloud's ids of its public plans, which other clients have in their source (IBM's qauvern 0.14,
# plan.py; qiskit-ibm-runtime 0.40, accounts/account.py).
_IBM_PLANS = {
    "premium": "7f666d17-7893-47d8-bf9d-2b2389fc4dfc",
    "open": "850b21a7-71de-4e53-9441-1abdd202f35d",
    "pay-as-you-go": "5304b575-3cff-4455-90dc-ae4367762093",
    "flex": "53bde9d3-cdbb-46f5-a98f-60ebcadf7260",
    "dedicated": "c8122eb7-fdb1-4746-841d-45bbc7678195",
    "internal": "91b2c828-2952-4f05-aed8-bedf92c6c480",
}
_CREDENTIALS = re.compile(r"(bearer|apikey)\s+(\S+)\s*", re.IGNORECASE)

Thing = InstanceRecord | User | Key | Grant


@dataclass(frozen=True, slots=True)
class Token:
    """What the IAM service hands out for a key."""

    text: str
    issued_s: int  # Unix time
    expires_s: int  # Unix time


@dataclass(frozen=True, slots=True)
class Tenant:
    """An instance with its plan, and what the caller may do there: what a request acts for."""

    instance: InstanceRecord
    plan: PlanConfig
    role: Role


Named = TypeVar("Named", InstanceRecord, User)


class Tenants(Protocol):
    """Where users, keys, instances and roles are kept (`store.tenants`)."""

    async def read(self) -> Directory:
        """All of them."""

    async def declare(self, declared: Directory, now: int) -> None:
        """Make this what the configuration declares."""

    async def add(self, thing: Named, entries: Sequence[Entry] = ()) -> Named:
        """Add under an id that nothing had before; with that id."""

    async def put(self, thing: Thing, entries: Sequence[Entry] = ()) -> None:
        """Change, or add a key or a grant; `entries` tell who did it."""

    async def remove(self, thing: Thing, now: int, entries: Sequence[Entry] = ()) -> None:
        """Remove, with the keys and roles that hang on it."""


class Identity:
    """Users, their keys and tokens, and the instances that they may use."""

    directory: Directory
    """All of them now. A request that has looked keeps what it saw."""

    def __init__(self, plans: Sequence[PlanConfig], secret: str, tenants: Tenants) -> None:
        self._secret = secret
        self._tenants = tenants
        self._changing = asyncio.Lock()
        self._closing: set[str] = set()
        self._places: dict[str, int] = {}  # of declared instances, by name
        self._plans = {plan.name: plan for plan in plans}
        self.plans = {plan_id(plan): plan for plan in plans}
        """Every plan by the id that the catalogue knows it by."""
        self.directory = Directory()

    async def open(self, declared: Directory) -> None:
        """Take over what the configuration declares; ConfigError if what is kept has no plan."""
        await self._tenants.declare(declared, self.now_ms())
        self._places = {one.name: place for place, one in enumerate(declared.instances.values())}
        self.directory = await self._read()
        for record in self.directory.instances.values():
            if record.config.plan not in self._plans:
                raise ConfigError(
                    f"instance {record.name} has the plan {record.config.plan!r}, which the "
                    f"configuration has no longer; it has: {', '.join(self._plans)}"
                )

    async def add(self, thing: Named) -> Named:
        """Add an instance or a user, under an id that nothing had before; with that id."""
        async with self._changing:
            made = await self._tenants.add(thing, of_thing(thing, "add"))
            self.directory = await self._read()
        return made

    async def put(self, thing: Thing) -> None:
        """Change, or add a key or a grant; holds for every request from now on."""
        async with self._changing:
            await self._tenants.put(thing, of_thing(thing, "change" if self._has(thing) else "add"))
            self.directory = await self._read()

    async def remove(self, thing: Thing) -> None:
        """Remove, with what hangs on it; holds for every request from now on."""
        async with self._changing:
            await self._tenants.remove(thing, self.now_ms(), of_thing(thing, "remove"))
            self.directory = await self._read()

    async def _read(self) -> Directory:
        """What is kept: instances in the configuration's order, then by when they were made."""
        directory = await self._tenants.read()
        last = len(self._places)
        instances = sorted(
            directory.instances.values(),
            key=lambda one: (self._places.get(one.name, last), one.created_at, one.id),
        )
        return replace(directory, instances={one.id: one for one in instances})

    def _has(self, thing: Thing) -> bool:
        match thing:
            case InstanceRecord(id=instance):
                return instance in self.directory.instances
            case User(id=user):
                return user in self.directory.users
            case Key(id=key_id):
                return key_id in self.directory.keys
            case Grant(user=user, instance=instance):
                return (user, instance) in self.directory.grants

    @contextmanager
    def closing(self, record: InstanceRecord) -> Iterator[None]:
        """Refuse new submissions to an instance while it is found out whether it can be removed."""
        self._closing.add(record.id)
        try:
            yield
        finally:
            self._closing.discard(record.id)

    def may_submit(self, user: User, instance: InstanceRecord) -> bool:
        """Whether, at this moment, `user` may still submit jobs to `instance`."""
        role = self.directory.role(user.id, instance.id)
        return role is not None and role.includes(Role.MEMBER) and instance.id not in self._closing

    @staticmethod
    def now_ms() -> int:
        """The wall clock, by which keys and tokens expire, whatever the service's clock is."""
        return time.time_ns() // 1_000_000

    def token(self, key: Key) -> Token:
        """Make a token that stands for `key`; numeric `iat` and `exp`, or the client hangs."""
        now = int(time.time())  # the client's clock is a wall clock, whatever ours is
        instances = self.directory.instances_of(key.user)
        claims = {
            "iss": "queuebit",
            "iam_id": iam_id(key.user),
            "sub": key.user,
            "key": key.id,
            "account": {"valid": True, "bss": instances[0].account_id if instances else ""},
            "iat": now,
            "exp": now + TOKEN_TTL_S,
        }
        text = jwt.encode(claims, self._secret, algorithm="HS256")
        return Token(text, now, now + TOKEN_TTL_S)

    def key(self, authorization: str | None) -> Key:
        """The key behind this `Authorization` header: `Bearer TOKEN` or `apikey KEY`."""
        match = _CREDENTIALS.fullmatch(authorization or "")
        if match is None:
            raise Unauthorized(
                "No credentials came with the request.",
                NOT_AUTHORIZED,
                "Send the header Authorization: Bearer TOKEN, or apikey KEY.",
            )
        scheme, secret = match.groups()
        if scheme.lower() == "apikey":
            found = self.directory.key_of(secret)
        else:
            found = self._key_of_token(secret)
        if found is None or found.expired(self.now_ms()):
            raise Unauthorized(
                "The token or key is not valid, or no longer.",
                INVALID_CREDENTIALS,
                "Use an API key that the operator of this service gave you.",
            )
        return found

    def user(self, key: Key) -> User:
        """Whose key it is."""
        return self.directory.users[key.user]

    def tenants(self, user: User) -> list[Tenant]:
        """Every instance that `user` may use."""
        found = []
        for instance in self.directory.instances_of(user.id):
            role = self.directory.role(user.id, instance.id)
            assert role is not None  # nothing else is theirs
            found.append(Tenant(instance, self._plans[instance.config.plan], role))
        return found

    def tenant(self, user: User, crn: str | None) -> Tenant:
        """Find the instance that the header `Service-CRN` names, among those of `user`."""
        if not crn or not crn.startswith("crn:"):
            raise InvalidInput(
                f"The header Service-CRN holds {crn!r}, which is no CRN.",
                BAD_CRN,
                "Send the CRN of one of your instances.",
            )
        for tenant in self.tenants(user):
            if tenant.instance.crn == crn:
                return tenant
        raise NotFound(  # whether somebody else has it is nobody's business
            f"Instance {crn} not found.", UNKNOWN_INSTANCE, "Use one of your own instances."
        )

    def plan(self, name: str) -> PlanConfig | None:
        """The plan of this name; None: there is none."""
        return self._plans.get(name)

    def _key_of_token(self, token: str) -> Key | None:
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                issuer="queuebit",
                leeway=SKEW_S,
                # A wall clock that was set back makes no token younger than it is.
                options={"require": ["exp", "iat", "sub", "key"], "verify_iat": False},
            )
        except jwt.InvalidTokenError:
            return None
        key = self.directory.keys.get(str(claims["key"]))  # revoked with it, though not expired
        return key if key is not None and key.user == claims["sub"] else None


def iam_id(user: str) -> str:
    """What IBM's API calls the user of this id."""
    return f"IBMid-{user}"


def plan_id(plan: PlanConfig) -> str:
    """Name `plan` as the catalogue does: a UUID, so no route of the runtime API can be meant.

    IBM's own where the plan has the name of one of IBM's.
    """
    return _IBM_PLANS.get(plan.name) or str(uuid.uuid5(_NAMESPACE, plan.name))


async def open_identity(config: Config, tenants: Tenants) -> tuple[Identity, str | None]:
    """Read or make the secrets in the data folder; also the local user's key, if there is one."""
    secret = _kept(config.data / "token-secret", lambda: secrets.token_hex(32))
    key = None
    if not config.users:
        key = _kept(config.data / "api-key", lambda: secrets.token_urlsafe(32))
    identity = Identity(config.plans, secret, tenants)
    await identity.open(declared(config, None if key is None else digest(key)))
    return identity, key


def _kept(file: Path, make: Callable[[], str]) -> str:
    """Read the secret kept in `file`, which only its owner may read; made on first use."""
    if file.exists():
        file.chmod(0o600)
        secret = file.read_text().strip()
        if not secret:
            raise ConfigError(f"file {file} is empty; delete it to have a new secret made")
        return secret
    secret = make()
    part = file.with_name(f".{file.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(secret + "\n")
        out.flush()
        os.fsync(out.fileno())
    part.replace(file)
    return secret
