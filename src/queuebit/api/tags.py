"""Search of tags (docs/endpoints.md)."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from queuebit.api.parts import AnyCall, answer

router = APIRouter(tags=["Tags"])

FOUND_MAX = 8  # OpenAPI, GET /tags: "maxItems"


class Tags(BaseModel):
    """Answer of GET /tags."""

    tags: list[str]


class TagSearch(BaseModel):
    """Query of GET /tags."""

    type: Literal["job"]
    search: str = Field(min_length=3, max_length=100)


@router.get("/tags", response_model=Tags)
async def search_tags(call: AnyCall, wish: Annotated[TagSearch, Query()]) -> Response:
    """Find tags of the instance's jobs that hold a text, in either case; the first 8."""
    found = await call.parts.database.tags(call.instance.id, wish.search, FOUND_MAX)
    return answer(Tags(tags=found))
