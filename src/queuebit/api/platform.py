"""As much of IBM Cloud as the client asks before it asks the runtime API (docs/endpoints.md).

IAM makes tokens, Global Search and the Resource Controller find instances, the Global Catalog
knows plans.
"""

from http import HTTPStatus
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from queuebit.api.identity import Tenant, plan_id
from queuebit.api.instances import change_budget
from queuebit.api.limits import count_wrong_key
from queuebit.api.parts import AnyParts, AnyUser, Call, answer, check_role
from queuebit.api.problems import NOT_AUTHORIZED, NOT_FOUND
from queuebit.errors import Forbidden, NotFound
from queuebit.tenancy import Role

router = APIRouter(tags=["Platform"])
catalog = APIRouter(tags=["Platform"])  # shares its base path with the runtime API

KEY_GRANT = "urn:ibm:params:oauth:grant-type:apikey"
SERVICE_ID = "b6049020-80f4-11eb-a0f7-e35ec9b4054f"  # IBM Cloud's of its quantum service
_MAX_FORM_BYTES = 16_384  # a key and three constants


Name = Annotated[tuple[str, ...], Query(max_length=1, description="At most one")]
BudgetSeconds = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
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
    resource_id: str
    state: str = "active"
    extensions: dict[str, Any]


class ResourceParameters(BaseModel):
    """What an instance may use: seconds as numbers or, as IBM's own client sends them, as text."""

    model_config = ConfigDict(extra="forbid")

    usage_allocation_seconds: BudgetSeconds | None = None
    instance_limit_seconds: BudgetSeconds | None = Field(
        default=None, description="Null: no limit of its own"
    )
    backends: list[Literal["ANY"]] | None = Field(
        default=None, description="Without effect: an instance may use all"
    )
    timestamp: Any = Field(default=None, description="Without effect")


class ResourceChanges(BaseModel):
    """Body of PATCH /v2/resource_instances/{crn}: what is not given stays as it is."""

    model_config = ConfigDict(extra="forbid")

    parameters: ResourceParameters


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
    if key is None or key.expired(parts.identity.now_ms()):
        count_wrong_key(request)
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
async def list_resources(
    parts: AnyParts,
    user: AnyUser,
    name: Name = (),
    resource_id: Name = (),
    resource_plan_id: Name = (),
) -> Response:
    """List the user's instances: all, or the one of a name, or those of a plan or service."""
    resources = [
        _resource(tenant)
        for tenant in parts.identity.tenants(user)
        if tenant.instance.name in (name or [tenant.instance.name])
        and plan_id(tenant.plan) in (resource_plan_id or [plan_id(tenant.plan)])
        and SERVICE_ID in (resource_id or [SERVICE_ID])
    ]
    return answer(ResourcesAnswer(rows_count=len(resources), resources=resources), unset=True)


@router.get("/v2/resource_instances/{crn:path}", response_model=Resource)
async def read_resource(parts: AnyParts, user: AnyUser, crn: str) -> Response:
    """Read one of the user's instances; its CRN holds a slash."""
    return answer(_resource(parts.identity.tenant(user, crn)))


@router.patch("/v2/resource_instances/{crn:path}", response_model=Resource)
async def change_resource(
    parts: AnyParts, user: AnyUser, crn: str, wish: ResourceChanges
) -> Response:
    """Change an instance's limit, for its managers, or its allocation, for administrators."""
    tenant = parts.identity.tenant(user, crn)
    check_role(tenant, Role.MANAGER)
    given, instance = wish.parameters, tenant.instance
    limit_s = instance.config.limit_s
    if "instance_limit_seconds" in given.model_fields_set:
        limit_s = given.instance_limit_seconds
    allocation_s = given.usage_allocation_seconds
    # IBM's client sends both to change one, and what it sends was rounded when it was read.
    if allocation_s is None or allocation_s == round(instance.config.allocation_s):
        allocation_s = instance.config.allocation_s
    elif not user.admin:
        raise Forbidden(
            "The allocation, by which instances share the QPU, is set by administrators.",
            NOT_AUTHORIZED,
            f"Send {round(instance.config.allocation_s)}, or leave it out.",
        )
    await change_budget(Call(parts, user, tenant), limit_s=limit_s, allocation_s=allocation_s)
    return answer(_resource(parts.identity.tenant(user, crn)), unset=True)


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
        doc={"extensions": _extensions(tenant)},
        tags=[tag.lower() for tag in tenant.instance.config.tags],
    )


def _resource(tenant: Tenant) -> Resource:
    return Resource(
        id=tenant.instance.crn,
        crn=tenant.instance.crn,
        name=tenant.instance.name,
        resource_plan_id=plan_id(tenant.plan),
        resource_id=SERVICE_ID,
        extensions=_extensions(tenant),
    )


def _extensions(tenant: Tenant) -> dict[str, Any]:
    """What the instance may use, as IBM's qauvern reads it; a limit of null is none of its own."""
    limit_s = tenant.instance.config.limit_s
    return {
        "backends": ["ANY"],
        "usage_allocation_seconds": round(tenant.instance.config.allocation_s),
        "instance_limit_seconds": None if limit_s is None else round(limit_s),
    }


def _iam_problem(request: Request, code: str, message: str) -> Response:
    """Tell an error as IAM does; 400, which the client shows at once."""
    context = IamContext(requestId=str(uuid4()), url=str(request.url), requestType="POST")
    told = IamProblem(errorCode=code, errorMessage=message, context=context)
    return JSONResponse(told.model_dump(), HTTPStatus.BAD_REQUEST)
