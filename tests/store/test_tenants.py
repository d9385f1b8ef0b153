"""Users, keys, instances and roles, of the same suite for every store."""

from dataclasses import replace
from datetime import UTC, datetime

from tests.store.records import Store

from queuebit.config import Config, InstanceConfig, UserConfig
from queuebit.tenancy import (
    Directory,
    Grant,
    InstanceRecord,
    Key,
    Role,
    User,
    declared,
    digest,
    directory,
)

LAB = InstanceConfig(
    name="lab",
    account="physics",
    tags=("a", "b"),
    limit_s=2.5,
    since=datetime(2026, 1, 2, tzinfo=UTC),
)
ADA = UserConfig(name="ada", key_sha256=digest("ada"), instances=("lab",), role="manager")
CONFIG = Config(instances=(LAB,), users=(ADA,))
EVE = User(id="eve", name="eve", admin=True, created_at=7)
NOW = 1_000


async def test_what_is_declared_is_read_as_it_was(store: Store):
    given = declared(CONFIG, None)

    await store.tenants.declare(given, NOW)
    read = await store.tenants.read()

    assert _without_dates(read) == given
    assert read.instances["lab"].config == LAB
    assert read.role("ada", "lab") is Role.MANAGER
    key = read.key_of("ada")
    assert key is not None
    assert key.user == "ada"
    assert read.key_of("bob") is None


async def test_what_is_added_stays_and_what_is_declared_no_longer_goes(store: Store):
    await store.tenants.declare(declared(CONFIG, None), NOW)
    for thing in (
        EVE,
        Key(id="k", user="eve", digest=digest("eve"), created_at=8),
        Grant(user="eve", instance="lab", role=Role.READER),
        InstanceRecord(id="hers", config=InstanceConfig(name="hers")),
        Grant(user="ada", instance="hers", role=Role.MEMBER),
    ):
        await store.tenants.put(thing)

    await store.tenants.declare(declared(CONFIG.model_copy(update={"users": ()}), None), NOW)
    read = await store.tenants.read()

    assert (set(read.users), set(read.instances)) == ({"eve"}, {"lab", "hers"})
    assert set(read.grants) == {("eve", "lab")}  # ada went with her roles and keys
    assert set(read.keys) == {"k"}


async def test_a_change_keeps_what_hangs_on_the_thing(store: Store):
    await store.tenants.declare(declared(CONFIG, None), NOW)
    await store.tenants.put(EVE)
    await store.tenants.put(Key(id="k", user="eve", digest=digest("eve")))
    await store.tenants.put(User(id="eve", name="eve"))
    await store.tenants.put(Grant(user="eve", instance="lab", role=Role.READER))
    await store.tenants.put(Grant(user="eve", instance="lab", role=Role.MEMBER))

    read = await store.tenants.read()
    assert not read.users["eve"].admin
    assert [key.id for key in read.keys_of("eve")] == ["k"]
    assert read.role("eve", "lab") is Role.MEMBER

    await store.tenants.remove(Grant(user="eve", instance="lab", role=Role.READER), NOW)
    await store.tenants.remove(Key(id="k", user="eve", digest=""), NOW)
    read = await store.tenants.read()
    assert (read.role("eve", "lab"), read.keys_of("eve")) == (None, [])
    assert "eve" in read.users


async def test_a_name_added_and_then_declared_is_the_declared_one(store: Store):
    await store.tenants.put(User(id="ada", name="ada", admin=True))
    await store.tenants.put(Key(id="old", user="ada", digest=digest("ada")))  # the same key
    await store.tenants.put(
        InstanceRecord(id="lab", config=InstanceConfig(name="lab", plan="open"))
    )

    await store.tenants.declare(declared(CONFIG, None), NOW)

    assert _without_dates(await store.tenants.read()) == declared(CONFIG, None)


def _without_dates(read: Directory) -> Directory:
    return directory(
        [replace(one, created_at=0) for one in read.instances.values()],
        [replace(one, created_at=0) for one in read.users.values()],
        read.keys.values(),
        read.grants.values(),
    )


async def test_a_name_that_is_given_again_gets_another_id(store: Store):
    """What belongs to the removed one stays its own: jobs, charges and roles go by id."""
    made = []
    for account in ("a", "a", "b"):
        config = InstanceConfig(name="chemistry", account=account)
        made.append(await store.tenants.add(InstanceRecord(id="", config=config)))
        await store.tenants.remove(made[-1], NOW)
    users = [await store.tenants.add(User(id="", name="eve"))]
    await store.tenants.put(Key(id="k", user="eve", digest=digest("eve")))
    await store.tenants.remove(users[0], NOW)
    users.append(await store.tenants.add(User(id="", name="eve", created_at=9)))

    read = await store.tenants.read()

    assert [one.id for one in made] == ["chemistry", "chemistry#2", "chemistry#3"]
    assert len({one.crn for one in made}) == 3
    assert [one.id for one in users] == ["eve", "eve#2"]
    assert read.instances == {}
    assert read.user_named("eve") == User(id="eve#2", name="eve", created_at=9)
    assert read.keys == {}


async def test_a_user_and_an_instance_may_have_one_name(store: Store):
    user = await store.tenants.add(User(id="", name="lab"))
    instance = await store.tenants.add(InstanceRecord(id="", config=LAB))

    assert (user.id, instance.id) == ("lab", "lab")


async def test_an_instance_declared_again_is_the_same_only_under_the_same_account(store: Store):
    nothing = declared(CONFIG.model_copy(update={"instances": (), "users": ()}), None)
    other = LAB.model_copy(update={"account": "chemistry"})
    moved = CONFIG.model_copy(update={"instances": (other,)})
    await store.tenants.declare(declared(CONFIG, None), 1)
    await store.tenants.declare(nothing, 2)
    gone = await store.tenants.read()

    await store.tenants.declare(declared(CONFIG, None), 3)
    again = await store.tenants.read()
    await store.tenants.declare(nothing, 4)
    await store.tenants.declare(declared(moved, None), 5)
    new = await store.tenants.read()

    assert gone == Directory()
    assert (again.instances["lab"].created_at, again.users["ada"].created_at) == (1, 1)
    assert (set(new.instances), set(new.users)) == ({"lab#2"}, {"ada"})
    assert new.role("ada", "lab#2") is Role.MANAGER


async def test_what_an_administrator_removed_is_not_what_is_declared_later(store: Store):
    added = await store.tenants.add(InstanceRecord(id="", config=LAB))
    await store.tenants.remove(added, NOW)

    await store.tenants.declare(declared(CONFIG, None), NOW)

    assert set((await store.tenants.read()).instances) == {"lab#2"}


async def test_a_key_takes_the_keys_made_with_it_along(store: Store):
    """Whoever had a leaked key may have made more of them; a restart removes none."""
    await store.tenants.declare(declared(CONFIG, None), NOW)
    first = next(iter((await store.tenants.read()).keys))
    for key_id, made_with in (("a", first), ("b", "a"), ("c", "b"), ("d", None)):
        await store.tenants.put(Key(id=key_id, user="ada", digest=key_id, made_with=made_with))
    await store.tenants.declare(declared(CONFIG, None), NOW)
    kept = set((await store.tenants.read()).keys)

    await store.tenants.remove(Key(id="b", user="ada", digest="b"), NOW)
    after = set((await store.tenants.read()).keys)
    rotated = CONFIG.model_copy(
        update={"users": (ADA.model_copy(update={"key_sha256": digest("new")}),)}
    )
    await store.tenants.declare(declared(rotated, None), NOW)

    assert kept == {first, "a", "b", "c", "d"}
    assert after == {first, "a", "d"}
    assert set((await store.tenants.read()).keys) == {digest("new")[:16], "d"}


async def test_who_leaves_takes_no_keys_of_others_along(store: Store):
    for name in ("ada", "eve"):
        await store.tenants.add(User(id="", name=name, admin=True))
    for key_id, user, made_with in (("a", "ada", None), ("b", "ada", "a"), ("e", "eve", "b")):
        key = Key(id=key_id, user=user, digest=key_id, made_with=made_with)
        await store.tenants.put(key)

    await store.tenants.remove(User(id="ada", name="ada"), NOW)

    read = await store.tenants.read()
    assert read.keys == {"e": Key(id="e", user="eve", digest="e")}
