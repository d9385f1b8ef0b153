"""As much of IBM Cloud as the client asks before it asks the runtime API (docs/endpoints.md).

IAM makes tokens, Global Search and the Resource Controller find instances, the Global Catalog
knows plans.
"""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import parse_qs
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from queuebit.api.identity import Tenant, plan_id
from queuebit.api.parts import AnyParts, AnyUser, answer
from queuebit.api.problems import NOT_FOUND
from queuebit.errors import NotFound

router = APIRouter(tags=["Platform"])
catalog = APIRouter(tags=["Platform"])  # shares its base path with the runtime API

KEY_GRANT = "urn:ibm:params:oauth:grant-type:apikey"
_MAX_FORM_BYTES = 16_384  # a key and three constants


Name = Annotated[tuple[str, ...], Query(max_length=1, description="At most one")]
Limit = Annotated[tuple[int, ...], Query(max_length=1, description="At most one, 1 to 100")]


class TokenAnswer(BaseModel):
    """Answer of POST /identity/token."""

    access_token: str
    refresh_token: str = "not_supported"  # noqa: S105 - IBM's words for: there is none
    token_type: str = "Bearer"  # noqa: S105 - its type
    expires_in: int
    expiration: int
    scope: str = "ibm openid"


class IamContext(BaseModel):
    """What IAM was asked."""

    requestId: str  # noqa: N815 - IAM's name
    url: str
    requestType: str  # noqa: N815 - IAM's name


class IamProblem(BaseModel):
    """How IAM tells an error."""

    errorCode: str  # noqa: N815 - IAM's name
    errorMessage: str  # noqa: N815 - IAM's name
    context: IamContext


class SearchRequest(BaseModel):
    """Body of POST /v3/resources/search; the query is always the same one, and so not looked at."""

    search_cursor: str | None = Field(
        default=None, max_length=9, description="From the answer before"
    )


class FoundInstance(BaseModel):
    """An instance; the client skips those without `doc.extensions`."""

    crn: str
    name: str
    service_plan_unique_id: str
    service_name: str = "quantum-computing"
    doc: dict[str, Any]
    tags: list[str]


class SearchAnswer(BaseModel):
    """Answer of POST /v3/resources/search."""

    items: list[FoundInstance]
    limit: int
    search_cursor: str | None = None  # absent at the end


class CatalogAnswer(BaseModel):
    """A plan."""

    id: str
    name: str
    kind: str = "plan"
    overview_ui: dict[str, dict[str, str]]
    metadata: dict[str, dict[str, str]]


class Resource(BaseModel):
    """An instance as the Resource Controller shows it."""

    id: str
    crn: str
    name: str
    resource_plan_id: str
    state: str = "active"
    extensions: dict[str, Any]


class ResourcesAnswer(BaseModel):
    """Answer of GET /v2/resource_instances."""

    rows_count: int
    next_url: None = None
    resources: list[Resource]


_FORM = {
    "required": True,
    "content": {
        "application/x-www-form-urlencoded": {
            "schema": {
                "type": "object",
                "required": ["grant_type", "apikey"],
                "properties": {
                    "grant_type": {"type": "string", "const": KEY_GRANT},
                    "apikey": {"type": "string"},
                },
            }
        }
    },
}


@router.post("/identity/token", response_model=TokenAnswer, openapi_extra={"requestBody": _FORM})
async def make_token(parts: AnyParts, request: Request) -> Response:
    """Exchange an API key for a token."""
    form = parse_qs((await request.body())[:_MAX_FORM_BYTES].decode(errors="replace"))
    if form.get("grant_type") != [KEY_GRANT]:
        return _iam_problem(
            request, "BXNIM0110E", f"Property missing or wrong: grant_type must be {KEY_GRANT}."
        )
    key = parts.identity.directory.key_of(form.get("apikey", [""])[0])
    if key is None:
        return _iam_problem(request, "BXNIM0415E", "Provided API key could not be found.")
    token = parts.identity.token(key)
    parts.watch.logged_in(key)
    return answer(
        TokenAnswer(
            access_token=token.text,
            expires_in=token.expires_s - token.issued_s,
            expiration=token.expires_s,
        )
    )


@router.post("/v3/resources/search", response_model=SearchAnswer)
async def search(
    parts: AnyParts, user: AnyUser, wish: SearchRequest, limit: Limit = ()
) -> Response:
    """Find the user's instances."""
    tenants = parts.identity.tenants(user)
    most = min(max(*limit, 1), 100) if limit else 100
    cursor = wish.search_cursor or "0"
    first = int(cursor) if cursor.isdecimal() else len(tenants)
    items = [_found(tenant) for tenant in tenants[first : first + most]]
    more = str(first + most) if first + most < len(tenants) else None
    return answer(SearchAnswer(items=items, limit=most, search_cursor=more))


@router.get("/v2/resource_instances", response_model=ResourcesAnswer)
async def list_resources(parts: AnyParts, user: AnyUser, name: Name = ()) -> Response:
    """List the user's instances, or the one of this name."""
    resources = [
        _resource(tenant)
        for tenant in parts.identity.tenants(user)
        if not name or tenant.instance.name in name
    ]
    return answer(ResourcesAnswer(rows_count=len(resources), resources=resources), unset=True)


@router.get("/v2/resource_instances/{crn:path}", response_model=Resource)
async def read_resource(parts: AnyParts, user: AnyUser, crn: str) -> Response:
    """Read one of the user's instances; its CRN holds a slash."""
    return answer(_resource(parts.identity.tenant(user, crn)))


@catalog.get("/{id_of_plan:uuid}", response_model=CatalogAnswer)
async def read_plan(parts: AnyParts, _user: AnyUser, id_of_plan: UUID) -> Response:
    """Read a plan; only its UUID tells this route from those of the runtime API."""
    plan = parts.identity.plans.get(str(id_of_plan))
    if plan is None:
        raise NotFound(f"Plan {id_of_plan} not found.", NOT_FOUND)
    return answer(
        CatalogAnswer(
            id=str(id_of_plan),
            name=plan.name,
            overview_ui={"en": {"display_name": plan.name.capitalize()}},
            metadata={"pricing": {"type": plan.pricing}},
        )
    )


def _found(tenant: Tenant) -> FoundInstance:
    return FoundInstance(
        crn=tenant.instance.crn,
        name=tenant.instance.name,
        service_plan_unique_id=plan_id(tenant.plan),
        doc={"extensions": {"backends": ["ANY"]}},
        tags=[tag.lower() for tag in tenant.instance.tags],
    )


def _resource(tenant: Tenant) -> Resource:
    return Resource(
        id=tenant.instance.crn,
        crn=tenant.instance.crn,
        name=tenant.instance.name,
        resource_plan_id=plan_id(tenant.plan),
        extensions={"backends": ["ANY"]},
    )


def _iam_problem(request: Request, code: str, message: str) -> Response:
    """Tell an error as IAM does; 400, which the client shows at once."""
    context = IamContext(requestId=str(uuid4()), url=str(request.url), requestType="POST")
    told = IamProblem(errorCode=code, errorMessage=message, context=context)
    return JSONResponse(told.model_dump(), HTTPStatus.BAD_REQUEST)
