"""Who may use the service, and for what: users with keys, instances, and roles between the two.

An instance belongs to an account and is what is charged; a user may have a role in any number of
them. What the configuration declares and what administrators add at run time are the same things;
only the declared ones cannot be changed but there.
"""

import hashlib
import secrets
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property

from queuebit.config import NAMESPACE, Config, InstanceConfig

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

    id: str
    """What records and roles belong to. A name may be given again, an id never is."""
    name: str
    admin: bool = False
    """Administers the service: backends, instances, users. Reads no jobs without a role."""
    declared: bool = False
    """Declared in the configuration, and changed only there; likewise below."""
    created_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key, of which only the digest is kept."""

    id: str
    user: str
    """The user's id."""
    label: str = ""
    digest: str
    """SHA-256 in hexadecimal; a key is random enough to need no salt."""
    made_with: str | None = None
    """Id of the key that its maker used. Revoking that key revokes this one."""
    expires_at: int | None = None
    """Unix time in milliseconds; None: never."""
    declared: bool = False
    created_at: int = 0

    def expired(self, now: int) -> bool:
        """Whether it is no longer valid at `now`, in milliseconds."""
        return self.expires_at is not None and self.expires_at <= now


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A user's role in an instance, both by id."""

    user: str
    instance: str
    role: Role
    declared: bool = False


@dataclass(frozen=True, kw_only=True)
class InstanceRecord:
    """An instance: what is charged, and what jobs belong to."""

    id: str
    """As of `User.id`."""
    config: InstanceConfig
    declared: bool = False
    created_at: int = 0

    @property
    def name(self) -> str:
        """What people call it; unique among the instances that exist."""
        return self.config.name

    @property
    def account_id(self) -> str:
        """What IBM's API calls its account: 32 hexadecimal digits."""
        return self.config.account_id

    @cached_property
    def crn(self) -> str:
        """The instance's CRN; us-east, because only that region adds no host name."""
        instance = uuid.uuid5(NAMESPACE, self.id)
        account = f"a/{self.account_id}"
        return f"crn:v1:bluemix:public:quantum-computing:us-east:{account}:{instance}::"


@dataclass(frozen=True)
class Directory:
    """All of them at one moment; made anew when anything changes."""

    instances: dict[str, InstanceRecord] = field(default_factory=dict)
    """By id, as users."""
    users: dict[str, User] = field(default_factory=dict)
    keys: dict[str, Key] = field(default_factory=dict)
    """By id."""
    grants: dict[tuple[str, str], Grant] = field(default_factory=dict)
    """By the ids of user and instance."""

    @cached_property
    def _by_digest(self) -> dict[str, Key]:
        return {key.digest: key for key in self.keys.values()}

    @cached_property
    def _instances_by_name(self) -> dict[str, InstanceRecord]:
        return {record.name: record for record in self.instances.values()}

    @cached_property
    def _users_by_name(self) -> dict[str, User]:
        return {user.name: user for user in self.users.values()}

    def instance_named(self, name: str) -> InstanceRecord | None:
        """The instance of this name; None: there is none."""
        return self._instances_by_name.get(name)

    def user_named(self, name: str) -> User | None:
        """The user of this name; None: there is none."""
        return self._users_by_name.get(name)

    def key_of(self, text: str) -> Key | None:
        """The record of an API key; None if there is none.

        The lookup is by digest, so its duration tells nothing about any key.
        """
        return self._by_digest.get(digest(text))

    def role(self, user: str, instance: str) -> Role | None:
        """The role of a user in an instance, both by id; None: no role."""
        grant = self.grants.get((user, instance))
        return None if grant is None else grant.role

    def instances_of(self, user: str) -> list[InstanceRecord]:
        """Every instance in which the user of this id has a role, declared ones first."""
        records = [record for record in self.instances.values() if (user, record.id) in self.grants]
        return sorted(records, key=lambda record: not record.declared)

    def keys_of(self, user: str) -> list[Key]:
        """The keys of the user of this id, the oldest first."""
        keys = (key for key in self.keys.values() if key.user == user)
        return sorted(keys, key=lambda key: (key.created_at, key.id))


def directory(
    instances: Iterable[InstanceRecord],
    users: Iterable[User],
    keys: Iterable[Key],
    grants: Iterable[Grant],
) -> Directory:
    """A directory of these."""
    return Directory(
        {record.id: record for record in instances},
        {user.id: user for user in users},
        {key.id: key for key in keys},
        {(grant.user, grant.instance): grant for grant in grants},
    )


def declared(config: Config, local_digest: str | None) -> Directory:
    """What `config` declares; with the digest of a key, also the local user who holds it.

    Names stand in the place of ids: `Tenants.declare` finds out which ids they have.
    """
    names = [instance.name for instance in config.instances]
    users = [
        User(id=user.name, name=user.name, admin=user.admin, declared=True) for user in config.users
    ]
    keys = [(user.name, user.key_sha256) for user in config.users]
    roles = [(user.name, name, Role(user.role)) for user in config.users for name in user.instances]
    if local_digest is not None:
        users.append(User(id=LOCAL_USER, name=LOCAL_USER, admin=True, declared=True))
        keys.append((LOCAL_USER, local_digest))
        roles += [(LOCAL_USER, name, Role.MANAGER) for name in names]
    return directory(
        (
            InstanceRecord(id=instance.name, config=instance, declared=True)
            for instance in config.instances
        ),
        users,
        (
            Key(id=text[:16], user=user, label="configured", digest=text, declared=True)
            for user, text in keys
        ),
        (Grant(user=u, instance=i, role=role, declared=True) for u, i, role in roles),
    )


def unused_id(name: str, used: int) -> str:
    """The id of something called `name`, when `used` others have had that name before.

    The first one's id is its name: the same configuration then gives the same CRNs on every
    machine. "#" is in no name, so no other name can lead to the same id.
    """
    return name if not used else f"{name}#{used + 1}"


def digest(text: str) -> str:
    """What is kept of an API key."""
    return hashlib.sha256(text.encode()).hexdigest()


def new_key(
    user: str,
    label: str,
    now: int,
    *,
    made_with: str | None = None,
    expires_at: int | None = None,
) -> tuple[str, Key]:
    """An API key for the user of this id, to be shown once, and its record."""
    text = secrets.token_urlsafe(KEY_BYTES)
    key = Key(
        id=secrets.token_hex(8),
        user=user,
        label=label,
        digest=digest(text),
        made_with=made_with,
        expires_at=expires_at,
        created_at=now,
    )
    return text, key
