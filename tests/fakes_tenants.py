"""Verified fakes of `store.tenants` and `store.audit`: they pass the suites of the real things."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TypeVar

from queuebit.config import InstanceConfig
from queuebit.store.audit import AuditQuery, Entry, StoredEntry
from queuebit.tenancy import Directory, Grant, InstanceRecord, Key, User, directory, unused_id

KINDS = (InstanceRecord, User, Key, Grant)
Thing = InstanceRecord | User | Key | Grant
Named = TypeVar("Named", InstanceRecord, User)


class MemoryAudit:
    """An audit trail that is forgotten with the process."""

    def __init__(self) -> None:
        self._entries: list[StoredEntry] = []

    async def check(self) -> None:
        pass

    async def record(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            place = self._entries[-1].id + 1 if self._entries else 1
            self._entries.append(StoredEntry(**asdict(entry), id=place))

    async def read(self, query: AuditQuery) -> list[StoredEntry]:
        found = [entry for entry in reversed(self._entries) if _is_asked(entry, query)]
        return found[: query.limit]

    async def forget(self, before: int) -> None:
        self._entries = [entry for entry in self._entries if entry.at >= before]


def _is_asked(entry: StoredEntry, query: AuditQuery) -> bool:
    return (
        (query.before is None or entry.id < query.before)
        and query.user in (None, entry.user)
        and query.instance in (None, entry.instance)
        and query.target in (None, entry.target)
        and query.outcome in (None, entry.outcome)
        and (query.action is None or f"{entry.action}.".startswith(f"{query.action}."))
        and (query.since is None or entry.at >= query.since)
        and (query.until is None or entry.at < query.until)
    )


class MemoryTenants:
    """`Tenants` that are forgotten with the process."""

    def __init__(self, audit: MemoryAudit | None = None) -> None:
        self._directory = Directory()
        self._audit = audit or MemoryAudit()
        self._removed: list[InstanceRecord | User] = []  # the latest last

    async def read(self) -> Directory:
        return self._directory

    async def declare(self, declared: Directory, now: int) -> None:
        old = self._directory
        names = {
            InstanceRecord: {one.name for one in declared.instances.values()},
            User: {one.name for one in declared.users.values()},
        }
        for thing in [*old.users.values(), *old.instances.values()]:
            if thing.declared and thing.name not in names[type(thing)]:
                await self.remove(thing, now)
        digests = {key.digest for key in declared.keys.values()}
        for key in [*self._directory.keys.values()]:
            again = key.id in declared.keys
            if not again and (key.declared or key.digest in digests):
                await self.remove(key, now)
        for grant in [*self._directory.grants.values()]:
            if grant.declared:
                await self.remove(grant, now)
        ids: dict[type, dict[str, str]] = {InstanceRecord: {}, User: {}}
        for thing in [*declared.users.values(), *declared.instances.values()]:
            known = self._known(thing)
            made = replace(thing, id=self._unused_id(thing), created_at=now)
            if known is not None:
                made = replace(thing, id=known.id, created_at=known.created_at)
                self._removed = [one for one in self._removed if one is not known]
            await self.put(made)
            ids[type(thing)][thing.name] = made.id
        for key in declared.keys.values():
            await self.put(replace(key, user=ids[User][key.user]))
        for grant in declared.grants.values():
            user, instance = ids[User][grant.user], ids[InstanceRecord][grant.instance]
            await self.put(replace(grant, user=user, instance=instance))

    async def add(self, thing: Named, entries: Sequence[Entry] = ()) -> Named:
        made = replace(thing, id=self._unused_id(thing))
        await self.put(made, entries)
        return made

    async def put(self, thing: Thing, entries: Sequence[Entry] = ()) -> None:
        await self._audit.record(entries)
        now = self._directory
        added = [[thing] if isinstance(thing, kind) else [] for kind in KINDS]
        self._directory = directory(
            [*now.instances.values(), *added[0]],
            [*now.users.values(), *added[1]],
            [*now.keys.values(), *added[2]],
            [*now.grants.values(), *added[3]],
        )

    async def remove(self, thing: Thing, now: int, entries: Sequence[Entry] = ()) -> None:
        del now
        await self._audit.record(entries)
        old = self._directory
        gone = {id(one) for one in self._with_what_hangs_on_it(thing)}
        self._removed += [
            one for one in [*old.instances.values(), *old.users.values()] if id(one) in gone
        ]
        instances, users, keys, grants = (
            [one for one in kind.values() if id(one) not in gone]
            for kind in (old.instances, old.users, old.keys, old.grants)
        )
        kept = {key.id for key in keys}
        orphaned = [key if key.made_with in kept else replace(key, made_with=None) for key in keys]
        self._directory = directory(instances, users, orphaned, grants)

    def _with_what_hangs_on_it(self, thing: Thing) -> list[Thing]:
        now = self._directory
        match thing:
            case InstanceRecord(id=instance):
                grants = [one for one in now.grants.values() if one.instance == instance]
                return [*grants, *_present(now.instances, instance)]
            case User(id=user):
                grants = [one for one in now.grants.values() if one.user == user]
                keys = [one for one in now.keys.values() if one.user == user]
                return [*grants, *_present(now.users, user), *keys]
            case Key(id=key):
                return self._made_with(_present(now.keys, key))
            case Grant(user=user, instance=instance):
                return _present(now.grants, (user, instance))

    def _made_with(self, keys: list[Key]) -> list[Key]:
        ids = {key.id for key in keys}
        further = [k for k in self._directory.keys.values() if k.made_with in ids]
        return [*keys, *(self._made_with(further) if further else [])]

    def _known(self, thing: InstanceRecord | User) -> InstanceRecord | User | None:
        for one in (*self._directory.instances.values(), *self._directory.users.values()):
            if type(one) is type(thing) and one.name == thing.name:
                return one
        for one in reversed(self._removed):
            same = type(one) is type(thing) and one.name == thing.name and one.declared
            if same and getattr(one, "account_id", "") == getattr(thing, "account_id", ""):
                return one
        return None

    def _unused_id(self, thing: InstanceRecord | User) -> str:
        there = [*self._directory.instances.values(), *self._directory.users.values()]
        same = [one for one in [*there, *self._removed] if type(one) is type(thing)]
        return unused_id(thing.name, sum(one.name == thing.name for one in same))


def _present(things: dict, key: object) -> list:
    return [things[key]] if key in things else []


def crn_of(config: InstanceConfig) -> str:
    """The CRN of the first instance of this name."""
    return InstanceRecord(id=config.name, config=config).crn
