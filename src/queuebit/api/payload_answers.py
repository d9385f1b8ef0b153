"""Answers out of the payload store, in parts: none is in memory as a whole."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from typing import BinaryIO

from fastapi import Response
from fastapi.responses import StreamingResponse

PART = 256 * 1024  # bytes that are read at once

Piece = bytes | BinaryIO
"""A part of an answer; of a file, all from where it is."""


async def answer_in_parts(pieces: Sequence[Piece], media_type: str) -> Response:
    """Answer the pieces one behind the other, and close their files."""
    size = sum(map(piece_size, pieces))
    if size <= PART:
        return Response(await asyncio.to_thread(_joined, pieces), media_type=media_type)
    # With a length: of an answer that is cut short the client is told an error, and repeats it.
    headers = {"content-length": str(size)}
    return StreamingResponse(_parts(pieces), headers=headers, media_type=media_type)


async def _parts(pieces: Sequence[Piece]) -> AsyncIterator[bytes]:
    try:
        for piece in pieces:
            if isinstance(piece, bytes):
                yield piece
                continue
            while part := await asyncio.to_thread(piece.read, PART):
                yield part
    finally:
        close(pieces)


def _joined(pieces: Sequence[Piece]) -> bytes:
    try:
        return b"".join(one if isinstance(one, bytes) else one.read() for one in pieces)
    finally:
        close(pieces)


def close(pieces: Sequence[Piece]) -> None:
    """Close the files among the pieces."""
    for piece in pieces:
        if not isinstance(piece, bytes):
            piece.close()


def piece_size(piece: Piece) -> int:
    """How many bytes it has."""
    if isinstance(piece, bytes):
        return len(piece)
    return os.fstat(piece.fileno()).st_size - piece.tell()
