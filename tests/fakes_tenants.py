"""Verified fakes of `store.tenants` and `store.audit`: they pass the suites of the real things."""

from collections.abc import Sequence
from dataclasses import asdict

from queuebit.store.audit import AuditQuery, Entry, StoredEntry
from queuebit.tenancy import Directory, Grant, Key, Owned, User, directory


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

    async def read(self) -> Directory:
        return self._directory

    async def declare(self, declared: Directory) -> None:
        old = self._directory
        gone = [
            *(user for user in old.users.values() if user.declared),
            *(owned for owned in old.instances.values() if owned.declared),
            *(grant for grant in old.grants.values() if grant.declared),
            *(key for key in old.keys.values() if key.declared),
        ]
        kept = {user.name for user in declared.users.values()} | set(declared.instances)
        for thing in gone:
            if isinstance(thing, User) and thing.name in kept:
                continue
            if isinstance(thing, Owned) and thing.config.name in kept:
                continue
            await self.remove(thing)
        for key in [*self._directory.keys.values()]:
            if key.digest in {new.digest for new in declared.keys.values()}:
                await self.remove(key)
        for thing in (
            *declared.users.values(),
            *declared.instances.values(),
            *declared.keys.values(),
            *declared.grants.values(),
        ):
            await self.put(thing)

    async def put(self, thing: Owned | User | Key | Grant, entries: Sequence[Entry] = ()) -> None:
        await self.remove(thing, entries, cascade=False)
        now = self._directory
        added = [[thing] if isinstance(thing, kind) else [] for kind in (Owned, User, Key, Grant)]
        self._directory = directory(
            [*now.instances.values(), *added[0]],
            [*now.users.values(), *added[1]],
            [*now.keys.values(), *added[2]],
            [*now.grants.values(), *added[3]],
        )

    async def remove(
        self,
        thing: Owned | User | Key | Grant,
        entries: Sequence[Entry] = (),
        *,
        cascade: bool = True,
    ) -> None:
        await self._audit.record(entries)
        now = self._directory
        instance = thing.config.name if isinstance(thing, Owned) else None
        user = thing.name if isinstance(thing, User) else None
        key = thing.id if isinstance(thing, Key) else None
        pair = (thing.user, thing.instance) if isinstance(thing, Grant) else None
        self._directory = directory(
            [one for one in now.instances.values() if one.config.name != instance],
            [one for one in now.users.values() if one.name != user],
            [k for k in now.keys.values() if k.id != key and not (cascade and k.user == user)],
            [
                grant
                for at, grant in now.grants.items()
                if at != pair and not (cascade and (at[0] == user or at[1] == instance))
            ],
        )
