"""The body of a submission: on its way to the payload store while it is hashed, then taken apart.

A small one stays in memory and is split here. A larger one goes to the disk as it comes, and a
worker splits it: nothing large is looked at in this process.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Request

from queuebit.api.connections import CONNECTION, Connection
from queuebit.api.problems import INVALID_REQUEST
from queuebit.api.text import check_json
from queuebit.errors import InvalidInput
from queuebit.programs.wire import json_members
from queuebit.store.payloads import BODY, INPUTS, Payloads, Writer

SMALL = 16 * 1024  # bytes; to split so many takes some milliseconds at worst
ITEMS_MAX = 500  # of lists and objects outside of the params: each may be an error to be told
PART = 256 * 1024  # bytes that are written at once


@dataclass(slots=True)
class JobBody:
    """A body that has come in full."""

    job_id: str
    """Under which it is in the payload store, if it is."""
    content: bytes | None = b""
    """None: it is in the payload store."""
    digest: str = ""
    """SHA-256 of it, in hexadecimal."""
    params_bytes: int = 0
    """Size of its params, once it has been taken apart."""
    is_taken: bool = False
    """What is stored of it is somebody else's to delete."""


@asynccontextmanager
async def received(request: Request, payloads: Payloads, job_id: str) -> AsyncIterator[JobBody]:
    """Receive a body; afterwards nothing of it is left in the payload store, unless it is taken."""
    body = JobBody(job_id)
    try:
        await _receive(request, payloads, body)
        yield body
    finally:
        if body.content is None and not body.is_taken:
            await asyncio.shield(asyncio.to_thread(payloads.delete, job_id))


async def _receive(request: Request, payloads: Payloads, body: JobBody) -> None:
    connection: Connection | None = request.scope.get(CONNECTION)
    digest, held = hashlib.sha256(), bytearray()
    with ExitStack() as stack:
        writer: Writer | None = None
        async for part in request.stream():
            held += part
            if len(held) < (SMALL if writer is None else PART):
                continue
            if writer is None:
                body.content = None
                writer = await asyncio.to_thread(payloads.writer, body.job_id, BODY)
                stack.enter_context(writer)
            await asyncio.to_thread(_add, writer, digest, held)
            if connection is not None:
                connection.holding.shrink(len(held))
            held.clear()
        if writer is None:
            digest.update(held)
            body.content = bytes(held)
        else:
            await asyncio.to_thread(_add, writer, digest, held)
            await asyncio.to_thread(writer.commit, durable=False)
    body.digest = digest.hexdigest()


def _add(writer: Writer, digest: Any, part: bytearray) -> None:
    digest.update(part)
    writer.write(bytes(part))


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """Take a small body apart: its members but the params, decoded, and these in compact form."""
    members = json_members.split(content)
    params = json_members.compact(members.pop(INPUTS, b"{}"))
    if not params.startswith(b"{"):
        raise InvalidInput("params is not a JSON object.", INVALID_REQUEST)
    return decoded(members), params


def decoded(members: Mapping[str, bytes]) -> dict[str, Any]:
    """Decode what is not the params, all of whose text can be stored."""
    if sum(value.count(b",") for value in members.values()) > ITEMS_MAX:
        raise InvalidInput(
            f"All but params of the request body has more than {ITEMS_MAX} items.", INVALID_REQUEST
        )
    try:
        found = {key: json.loads(value) for key, value in members.items()}
        check_json(found)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"The request body cannot be read: {error}.", INVALID_REQUEST) from None
    return found
