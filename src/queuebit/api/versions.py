"""The versions of IBM's API that this service answers (docs/endpoints.md)."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

router = APIRouter(tags=["Versions"])

# One answer serves them all (decisions 22), so all of them are live.
VERSIONS = ("2025-01-01", "2025-05-01", "2026-02-01", "2026-02-15", "2026-03-15", "2026-04-15")


class Version(BaseModel):
    """One date that the header IBM-API-Version may hold."""

    version: str
    status: Literal["live"] = "live"


class VersionsAnswer(BaseModel):
    """Answer of GET /versions."""

    versions: list[Version]


@router.get("/versions")
async def list_versions() -> VersionsAnswer:
    """List the versions; needs no credentials, so it tells whether the service is up."""
    return VersionsAnswer(versions=[Version(version=version) for version in VERSIONS])
