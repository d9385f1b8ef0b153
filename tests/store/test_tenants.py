"""Users, keys, instances and roles, of the same suite for every store."""

from datetime import UTC, datetime

from tests.store.records import Store

from queuebit.config import Config, InstanceConfig, UserConfig
from queuebit.tenancy import Grant, Key, Owned, Role, User, declared, digest

LAB = InstanceConfig(
    name="lab",
    account="physics",
    tags=("a", "b"),
    limit_s=2.5,
    since=datetime(2026, 1, 2, tzinfo=UTC),
)
ADA = UserConfig(name="ada", key_sha256=digest("ada"), instances=("lab",), role="manager")
CONFIG = Config(instances=(LAB,), users=(ADA,))
EVE = User(name="eve", admin=True, created_at=7)


async def test_what_is_declared_is_read_as_it_was(store: Store):
    given = declared(CONFIG, None)

    await store.tenants.declare(given)
    read = await store.tenants.read()

    assert read == given
    assert read.instances["lab"].config == LAB
    assert read.role("ada", "lab") is Role.MANAGER
    key = read.key_of("ada")
    assert key is not None
    assert key.user == "ada"
    assert read.key_of("bob") is None


async def test_what_is_added_stays_and_what_is_declared_no_longer_goes(store: Store):
    await store.tenants.declare(declared(CONFIG, None))
    for thing in (
        EVE,
        Key(id="k", user="eve", digest=digest("eve"), created_at=8),
        Grant(user="eve", instance="lab", role=Role.READER),
        Owned(config=InstanceConfig(name="hers")),
        Grant(user="ada", instance="hers", role=Role.MEMBER),
    ):
        await store.tenants.put(thing)

    await store.tenants.declare(declared(CONFIG.model_copy(update={"users": ()}), None))
    read = await store.tenants.read()

    assert (set(read.users), set(read.instances)) == ({"eve"}, {"lab", "hers"})
    assert set(read.grants) == {("eve", "lab")}  # ada went with her roles and keys
    assert set(read.keys) == {"k"}


async def test_a_change_keeps_what_hangs_on_the_thing(store: Store):
    await store.tenants.declare(declared(CONFIG, None))
    await store.tenants.put(EVE)
    await store.tenants.put(Key(id="k", user="eve", digest=digest("eve")))
    await store.tenants.put(User(name="eve"))
    await store.tenants.put(Grant(user="eve", instance="lab", role=Role.READER))
    await store.tenants.put(Grant(user="eve", instance="lab", role=Role.MEMBER))

    read = await store.tenants.read()
    assert not read.users["eve"].admin
    assert [key.id for key in read.keys_of("eve")] == ["k"]
    assert read.role("eve", "lab") is Role.MEMBER

    await store.tenants.remove(Grant(user="eve", instance="lab", role=Role.READER))
    await store.tenants.remove(Key(id="k", user="eve", digest=""))
    read = await store.tenants.read()
    assert (read.role("eve", "lab"), read.keys_of("eve")) == (None, [])
    assert "eve" in read.users


async def test_a_name_added_and_then_declared_is_the_declared_one(store: Store):
    await store.tenants.put(User(name="ada", admin=True))
    await store.tenants.put(Key(id="old", user="ada", digest=digest("ada")))  # the same key
    await store.tenants.put(Owned(config=InstanceConfig(name="lab", plan="open")))

    await store.tenants.declare(declared(CONFIG, None))

    assert await store.tenants.read() == declared(CONFIG, None)
