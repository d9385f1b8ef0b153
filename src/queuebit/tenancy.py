"""Who may use the service, and for what: users with keys, instances, and roles between the two.

An instance belongs to an account and is what is charged; a user may have a role in any number of
them. What the configuration declares and what administrators add at run time are the same things;
only the declared ones cannot be changed but there.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from queuebit.config import Config, InstanceConfig

KEY_BYTES = 32  # of randomness in an API key
LOCAL_USER = "local"  # who there is while the configuration names nobody


class Role(StrEnum):
    """What a user may do in an instance: IBM Cloud's service roles. Each may do what the next may.

    The administrator of the service is none of these: see `User.admin`.
    """

    MANAGER = "manager"
    """Sets the instance's limit, and who may use it."""
    MEMBER = "member"
    """Runs jobs, and changes and deletes them."""
    READER = "reader"
    """Reads."""

    def includes(self, needed: "Role") -> bool:
        """Whether who has this role may do what `needed` may."""
        order = list(Role)
        return order.index(self) <= order.index(needed)


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who holds API keys."""

    name: str
    admin: bool = False
    """Administers the service: backends, instances, users. Reads no jobs without a role."""
    declared: bool = False
    """The configuration has it, so only there it can be changed; likewise of what follows."""
    created_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key, of which only the digest is kept."""

    id: str
    user: str
    label: str = ""
    digest: str
    """SHA-256 in hexadecimal; a key is random enough to need no salt."""
    declared: bool = False
    created_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A user's role in an instance."""

    user: str
    instance: str
    role: Role
    declared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """An instance, and who says so."""

    config: InstanceConfig
    declared: bool = False


@dataclass(frozen=True)
class Directory:
    """All of them at one moment; made anew when anything changes."""

    instances: dict[str, Owned] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    """By id."""
    grants: dict[tuple[str, str], Grant] = field(default_factory=dict)
    """By user and instance."""

    def __post_init__(self) -> None:
        by_digest = {key.digest: key for key in self.keys.values()}
        object.__setattr__(self, "_by_digest", by_digest)

    def key_of(self, text: str) -> Key | None:
        """The record of an API key; None if it is nobody's, or no longer.

        What is looked up is a digest, so how long that takes tells nothing of any key.
        """
        found: dict[str, Key] = self._by_digest  # type: ignore[attr-defined] # set above
        return found.get(digest(text))

    def role(self, user: str, instance: str) -> Role | None:
        """What `user` may do in `instance`; None: nothing."""
        grant = self.grants.get((user, instance))
        return None if grant is None else grant.role

    def instances_of(self, user: str) -> list[InstanceConfig]:
        """Every instance in which `user` has a role, declared ones first, then by name."""
        found = [owned for name, owned in self.instances.items() if (user, name) in self.grants]
        return [owned.config for owned in sorted(found, key=lambda one: not one.declared)]

    def keys_of(self, user: str) -> list[Key]:
        """The keys of `user`, the oldest first."""
        found = (key for key in self.keys.values() if key.user == user)
        return sorted(found, key=lambda key: (key.created_at, key.id))


def directory(
    instances: Iterable[Owned], users: Iterable[User], keys: Iterable[Key], grants: Iterable[Grant]
) -> Directory:
    """A directory of these."""
    return Directory(
        {owned.config.name: owned for owned in instances},
        {user.name: user for user in users},
        {key.id: key for key in keys},
        {(grant.user, grant.instance): grant for grant in grants},
    )


def declared(config: Config, local_digest: str | None) -> Directory:
    """What `config` declares; with the digest of a key, also the local user who holds it."""
    names = [instance.name for instance in config.instances]
    users = [User(name=user.name, admin=user.admin, declared=True) for user in config.users]
    keys = [(user.name, user.key_sha256) for user in config.users]
    roles = [(user.name, name, Role(user.role)) for user in config.users for name in user.instances]
    if local_digest is not None:
        users.append(User(name=LOCAL_USER, admin=True, declared=True))
        keys.append((LOCAL_USER, local_digest))
        roles += [(LOCAL_USER, name, Role.MANAGER) for name in names]
    return directory(
        (Owned(config=instance, declared=True) for instance in config.instances),
        users,
        (
            Key(id=text[:16], user=user, label="configured", digest=text, declared=True)
            for user, text in keys
        ),
        (Grant(user=u, instance=i, role=role, declared=True) for u, i, role in roles),
    )


def digest(text: str) -> str:
    """What is kept of an API key."""
    return hashlib.sha256(text.encode()).hexdigest()


def new_key(user: str, label: str, now: int) -> tuple[str, Key]:
    """An API key for `user`, to be shown once, and its record."""
    text = secrets.token_urlsafe(KEY_BYTES)
    key = Key(id=secrets.token_hex(8), user=user, label=label, digest=digest(text), created_at=now)
    return text, key
