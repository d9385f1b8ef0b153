"""Reading the audit trail: for administrators."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from queuebit.api.parts import AnyAdmin, AnyParts, answer
from queuebit.api.text import Text
from queuebit.api.times import Instant, from_wire_or_none, wire_time
from queuebit.store.audit import AuditQuery, StoredEntry

router = APIRouter(tags=["Queuebit"])

MAX_ID = 2**63 - 1


class AuditWish(BaseModel):
    """Query of GET /queuebit/audit."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=100, ge=1, le=1_000)
    before: int | None = Field(default=None, ge=0, le=MAX_ID)
    user: Text | None = Field(default=None, description="Name of a user")
    instance: Text | None = Field(default=None, description="Name of an instance")
    action: Text | None = None
    target: Text | None = None
    outcome: Literal["done", "refused"] | None = None
    since: Instant | None = None
    until: Instant | None = None


class EntryAnswer(BaseModel):
    """What somebody did, or was refused."""

    id: int
    at: str
    user: str | None = Field(description="Null: without valid credentials; likewise the next two")
    key_id: str | None
    instance: str | None
    address: str
    action: str = Field(description="Of what was refused: method and route")
    target: str = Field(description="Id or name of what was changed")
    detail: str
    outcome: str
    request: str = Field(description="The `uber-trace-id` of the answer, and the id in the logs")
    times: int = Field(description="How often; logins and refusals are summed up over seconds")


class AuditAnswer(BaseModel):
    """Answer of GET /queuebit/audit."""

    entries: list[EntryAnswer] = Field(description="The newest first")
    next: int | None = Field(description="What to ask for as `before`; null: there are no more")


@router.get("/queuebit/audit", response_model=AuditAnswer)
async def read_audit(
    parts: AnyParts, _admin: AnyAdmin, wish: Annotated[AuditWish, Query()]
) -> Response:
    """Read who changed what, and who was refused, the newest first; for administrators."""
    await parts.watch.trail.flush(parts.database.audit)
    query = AuditQuery(
        **wish.model_dump(exclude={"since", "until", "limit"}),
        limit=wish.limit + 1,
        since=from_wire_or_none(wish.since),
        until=from_wire_or_none(wish.until),
    )
    found = await parts.database.audit.read(query)
    page = found[: wish.limit]
    further = page[-1].id if len(found) > wish.limit else None
    return answer(AuditAnswer(entries=[_told(one) for one in page], next=further), unset=True)


def _told(entry: StoredEntry) -> EntryAnswer:
    return EntryAnswer(
        id=entry.id,
        at=wire_time(entry.at),
        user=entry.user,
        key_id=entry.key_id,
        instance=entry.instance,
        address=entry.address,
        action=entry.action,
        target=entry.target,
        detail=entry.detail,
        outcome=entry.outcome,
        request=entry.request,
        times=entry.times,
    )
