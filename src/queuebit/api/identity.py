"""Who asks, and for which instance: API keys, IAM tokens, `Service-CRN` (docs/endpoints.md)."""

import hashlib
import hmac
import os
import re
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jwt

from queuebit.api.problems import BAD_CRN, INVALID_CREDENTIALS, NOT_AUTHORIZED, UNKNOWN_INSTANCE
from queuebit.config import Config, InstanceConfig, PlanConfig, UserConfig
from queuebit.errors import ConfigError, InvalidInput, NotFound, Unauthorized

# The client compares with its own clock, so a skewed one must still find the token young
# (docs/connecting.md).
TOKEN_TTL_S = 86_400
SKEW_S = 60  # how far our own clock may step back before a token that we gave is "from the future"
LOCAL_USER = "local"

# A fixed namespace: the same plan has the same id on every machine.
_NAMESPACE = uuid.UUID("0b5a3f0e-5b0c-4a43-8f0d-3f3f3c0e2c11")
_CREDENTIALS = re.compile(r"(bearer|apikey)\s+(\S+)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Token:
    """What the IAM service hands out for a key."""

    text: str
    issued_s: int  # Unix time
    expires_s: int  # Unix time


@dataclass(frozen=True, slots=True)
class Tenant:
    """An instance with its plan: what a request acts for."""

    instance: InstanceConfig
    plan: PlanConfig


class Identity:
    """Users, their keys and tokens, and the instances that they may use."""

    def __init__(self, config: Config, users: tuple[UserConfig, ...], secret: str) -> None:
        self._users = {user.name: user for user in users}
        self._secret = secret
        plans = {plan.name: plan for plan in config.plans}
        self.plans = {plan_id(plan): plan for plan in config.plans}
        """Every plan by the id that the catalogue knows it by."""
        self._tenants = {
            instance.name: Tenant(instance, plans[instance.plan]) for instance in config.instances
        }

    def user_of_key(self, key: str) -> UserConfig | None:
        """Who holds `key`; all digests are compared, so the time taken tells nothing."""
        digest = hashlib.sha256(key.encode()).hexdigest()
        found = None
        for user in self._users.values():
            if hmac.compare_digest(user.key_sha256, digest):
                found = user
        return found

    def token(self, user: UserConfig) -> Token:
        """Make a token that stands for `user`; numeric `iat` and `exp`, or the client hangs."""
        now = int(time.time())  # the client's clock is a wall clock, whatever ours is
        account = _account(self._tenants[user.instances[0]].instance.crn) if user.instances else ""
        claims = {
            "iss": "queuebit",
            "iam_id": f"IBMid-{user.name}",
            "sub": user.name,
            "account": {"valid": True, "bss": account},
            "iat": now,
            "exp": now + TOKEN_TTL_S,
        }
        text = jwt.encode(claims, self._secret, algorithm="HS256")
        return Token(text, claims["iat"], claims["exp"])  # type: ignore[arg-type] # ints, as above

    def user(self, authorization: str | None) -> UserConfig:
        """Who sent this `Authorization` header: `Bearer TOKEN` or `apikey KEY`."""
        match = _CREDENTIALS.fullmatch(authorization or "")
        if match is None:
            raise Unauthorized(
                "No credentials came with the request.",
                NOT_AUTHORIZED,
                "Send the header Authorization: Bearer TOKEN, or apikey KEY.",
            )
        scheme, secret = match.groups()
        found = self.user_of_key(secret) if scheme.lower() == "apikey" else self._holder(secret)
        if found is None:
            raise Unauthorized(
                "The token or key is not valid, or no longer.",
                INVALID_CREDENTIALS,
                "Use an API key that the operator of this service gave you.",
            )
        return found

    def tenants(self, user: UserConfig) -> list[Tenant]:
        """Every instance that `user` may use."""
        return [self._tenants[name] for name in user.instances]

    def tenant(self, user: UserConfig, crn: str | None) -> Tenant:
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

    def _holder(self, token: str) -> UserConfig | None:
        try:
            claims = jwt.decode(
                token,
                self._secret,
                algorithms=["HS256"],
                issuer="queuebit",
                leeway=SKEW_S,
                options={"require": ["exp", "iat", "sub"]},
            )
        except jwt.InvalidTokenError:
            return None
        return self._users.get(claims["sub"])  # gone with its user, though not expired


def plan_id(plan: PlanConfig) -> str:
    """Name `plan` as the catalogue does: a UUID, so no route of the runtime API can be meant."""
    return str(uuid.uuid5(_NAMESPACE, plan.name))


def open_identity(config: Config) -> tuple[Identity, str | None]:
    """Read or make the secrets in the data folder; also the local user's key, if there is one."""
    secret = _kept(config.data / "token-secret", lambda: secrets.token_hex(32))
    if config.users:
        return Identity(config, config.users, secret), None
    key = _kept(config.data / "api-key", lambda: secrets.token_urlsafe(32))
    local = UserConfig(
        name=LOCAL_USER,
        key_sha256=hashlib.sha256(key.encode()).hexdigest(),
        instances=tuple(instance.name for instance in config.instances),
        admin=True,
    )
    return Identity(config, (local,), secret), key


def _account(crn: str) -> str:
    return crn.split(":")[6].removeprefix("a/")


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
