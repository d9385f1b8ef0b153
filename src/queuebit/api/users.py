"""Users and their API keys: resources beside IBM's."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from queuebit.api.parts import AnyAdmin, AnyKey, AnyParts, AnyUser, Parts, answer, nothing
from queuebit.api.problems import CONFLICT, INVALID_REQUEST, NOT_FOUND
from queuebit.api.times import Instant, from_wire, wire_time_or_none
from queuebit.config import NAME
from queuebit.errors import Conflict, InvalidInput, NotFound
from queuebit.tenancy import Key, Role, User, new_key

router = APIRouter(tags=["Queuebit"])

# One line: it is a cell of tables, and no database stores a NUL.
Label = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-\x1f\x7f-\x9f]*$")]


class NewUser(BaseModel):
    """Body of POST /queuebit/users."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=NAME)
    admin: StrictBool = False


class UserChanges(BaseModel):
    """Body of PATCH /queuebit/users/{name}."""

    model_config = ConfigDict(extra="forbid")

    admin: StrictBool


class NewKey(BaseModel):
    """Body of POST /queuebit/users/{name}/keys."""

    model_config = ConfigDict(extra="forbid")

    label: Label = ""
    expires: Instant | None = Field(default=None, description="Null: never")


class RoleAnswer(BaseModel):
    """A user's role in an instance."""

    instance: str
    role: Role


class UserAnswer(BaseModel):
    """A user."""

    name: str
    admin: bool
    declared: bool = Field(description="The configuration has it, so only there it can be changed")
    created: str | None
    roles: list[RoleAnswer]
    keys: int


class UsersAnswer(BaseModel):
    """Answer of GET /queuebit/users."""

    users: list[UserAnswer]


class KeyAnswer(BaseModel):
    """An API key, but for the key itself."""

    id: str
    label: str
    created: str | None
    expires: str | None = Field(description="Null: never")
    made_with: str | None = Field(description="Id of the key that its maker used")
    declared: bool


class NewKeyAnswer(KeyAnswer):
    """A key that was just made."""

    key: str = Field(description="Shown this once; the service keeps only a digest")


class KeysAnswer(BaseModel):
    """Answer of GET /queuebit/users/{name}/keys."""

    keys: list[KeyAnswer]


@router.get("/queuebit/users", response_model=UsersAnswer)
async def list_users(parts: AnyParts, _admin: AnyAdmin) -> Response:
    """List all users; for administrators."""
    users = sorted(parts.identity.directory.users.values(), key=lambda user: user.name)
    return answer(UsersAnswer(users=[_told(parts, user) for user in users]), unset=True)


@router.get("/queuebit/users/{name}", response_model=UserAnswer)
async def read_user(parts: AnyParts, user: AnyUser, name: str) -> Response:
    """Read yourself, whom `me` names too; an administrator reads anybody."""
    return answer(_told(parts, _known(parts, user, name)), unset=True)


@router.post("/queuebit/users", status_code=201, response_model=UserAnswer)
async def add_user(parts: AnyParts, _admin: AnyAdmin, wish: NewUser) -> Response:
    """Add a user, who has no key and no role yet; for administrators."""
    if wish.name == "me" or parts.identity.directory.user_named(wish.name):
        raise Conflict(f"User {wish.name} is there already.", CONFLICT)
    user = await parts.identity.add(
        User(id=wish.name, name=wish.name, admin=wish.admin, created_at=parts.clock.now())
    )
    body = _told(parts, user).model_dump_json()
    return Response(body, status_code=201, media_type="application/json")


@router.patch("/queuebit/users/{name}", status_code=204)
async def change_user(parts: AnyParts, admin: AnyAdmin, name: str, wish: UserChanges) -> Response:
    """Make a user an administrator, or no longer; for administrators."""
    user = _changeable(parts, admin, name, losing=not wish.admin)
    await parts.identity.put(replace(user, admin=wish.admin))
    return nothing()


@router.delete("/queuebit/users/{name}", status_code=204)
async def remove_user(parts: AnyParts, admin: AnyAdmin, name: str) -> Response:
    """Remove a user with keys and roles; the jobs stay with their instances."""
    await parts.identity.remove(_changeable(parts, admin, name, losing=True))
    return nothing()


@router.get("/queuebit/users/{name}/keys", response_model=KeysAnswer)
async def list_keys(parts: AnyParts, user: AnyUser, name: str) -> Response:
    """List your keys, or anybody's as an administrator; never the keys themselves."""
    whose = _known(parts, user, name)
    keys = [_key(key) for key in parts.identity.directory.keys_of(whose.id)]
    return answer(KeysAnswer(keys=keys), unset=True)


@router.post("/queuebit/users/{name}/keys", status_code=201, response_model=NewKeyAnswer)
async def add_key(parts: AnyParts, maker: AnyKey, name: str, wish: NewKey) -> Response:
    """Make a key for yourself, or for anybody as an administrator; it is shown this once.

    It does not outlive the key that it was made with, if that expires.
    """
    user = _known(parts, parts.identity.user(maker), name)
    expiries = [maker.expires_at, None if wish.expires is None else from_wire(wish.expires)]
    text, key = new_key(
        user.id,
        wish.label,
        parts.clock.now(),
        made_with=maker.id,
        expires_at=min((at for at in expiries if at is not None), default=None),
    )
    if key.expired(parts.identity.now_ms()):
        raise InvalidInput("expires is in the past.", INVALID_REQUEST)
    keys_max = parts.config.user_keys_max
    if keys_max and len(parts.identity.directory.keys_of(user.id)) >= keys_max:
        raise Conflict(
            f"User {user.name} has {keys_max} API keys, which is the limit.",
            CONFLICT,
            "Revoke one that is not used.",
        )
    await parts.identity.put(key)
    body = NewKeyAnswer(**_key(key).model_dump(), key=text).model_dump_json()
    return Response(body, status_code=201, media_type="application/json")


@router.delete("/queuebit/users/{name}/keys/{key_id}", status_code=204)
async def revoke_key(
    parts: AnyParts,
    user: AnyUser,
    name: str,
    key_id: str,
    keep_made: bool = False,  # noqa: FBT001, FBT002 - a query parameter
) -> Response:
    """Revoke a key, with its tokens and, as it may have leaked, the keys that were made with it."""
    whose = _known(parts, user, name)
    key = parts.identity.directory.keys.get(key_id)
    if key is None or key.user != whose.id:
        raise NotFound(f"Key {key_id} of user {whose.name} not found.", NOT_FOUND)
    if key.declared:
        raise _declared(f"Key {key_id}")
    if keep_made:
        for made in list(parts.identity.directory.keys.values()):
            if made.made_with == key.id:
                await parts.identity.put(replace(made, made_with=key.made_with))
    await parts.identity.remove(key)
    return nothing()


def _known(parts: Parts, user: User, name: str) -> User:
    """The user of this name, or NotFound: also for who may not know of them."""
    if name in ("me", user.name):
        return user
    known = parts.identity.directory.user_named(name)
    if known is None or not user.admin:
        raise NotFound(f"User {name} not found.", NOT_FOUND)
    return known


def _changeable(parts: Parts, admin: User, name: str, *, losing: bool) -> User:
    """Whom an administrator may change; `losing`: the user would be no administrator then."""
    user = _known(parts, admin, name)
    if user.declared:
        raise _declared(f"User {user.name}")
    others = [one for one in parts.identity.directory.users.values() if one.id != user.id]
    if losing and user.admin and not any(one.admin for one in others):
        raise Conflict(
            f"User {user.name} is the only administrator.",
            CONFLICT,
            "Make another user one first.",
        )
    return user


def _declared(what: str) -> Conflict:
    return Conflict(f"{what} is declared in the configuration.", CONFLICT, "Change it there.")


def _told(parts: Parts, user: User) -> UserAnswer:
    directory = parts.identity.directory
    return UserAnswer(
        name=user.name,
        admin=user.admin,
        declared=user.declared,
        created=wire_time_or_none(user.created_at or None),
        roles=[
            RoleAnswer(instance=record.name, role=grant.role)
            for record in sorted(directory.instances.values(), key=lambda record: record.name)
            if (grant := directory.grants.get((user.id, record.id)))
        ],
        keys=len(directory.keys_of(user.id)),
    )


def _key(key: Key) -> KeyAnswer:
    return KeyAnswer(
        id=key.id,
        label=key.label,
        created=wire_time_or_none(key.created_at or None),
        expires=wire_time_or_none(key.expires_at),
        made_with=key.made_with,
        declared=key.declared,
    )
