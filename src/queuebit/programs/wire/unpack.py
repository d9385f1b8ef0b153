"""Packed parts of a payload, unpacked with an account of their size."""

import base64
import binascii
import zlib

from queuebit.errors import InvalidInput, TooLarge

# Of all circuits and arrays of one job together. The largest body is 64 MB; real payloads shrink
# to a fifth to a tenth, so more than this is a bomb, and a worker can hold it several times over.
EXPANDED_BYTES_MAX = 256 * 2**20


class Unpacker:
    """Unpacks one payload's parts; keeps account of what they expand to."""

    def __init__(self) -> None:
        self._left = EXPANDED_BYTES_MAX

    def compressed(self, content: object, where: str) -> bytes:
        """Bytes from base64 of zlib, never more than what is left for the payload."""
        packed = self._decoded(content, where)
        unpacker = zlib.decompressobj()
        try:
            # A bound of 0 would mean none, so one byte more than is left.
            expanded = unpacker.decompress(packed, self._left + 1)
        except zlib.error as error:
            raise InvalidInput(f"{where}: its content cannot be unpacked: {error}", 1208) from None
        self._charge(len(expanded), where)
        if not unpacker.eof or unpacker.unused_data:
            raise InvalidInput(f"{where}: its content is cut short or goes on too long", 1208)
        return expanded

    def plain(self, content: object, where: str) -> bytes:
        """Bytes from base64."""
        decoded = self._decoded(content, where)
        self._charge(len(decoded), where)
        return decoded

    @staticmethod
    def _decoded(content: object, where: str) -> bytes:
        if not isinstance(content, str):
            raise InvalidInput(f"{where}: its content is not text", 1208)
        try:
            return base64.b64decode(content, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidInput(f"{where}: its content cannot be unpacked: {error}", 1208) from None

    def _charge(self, size: int, where: str) -> None:
        if size > self._left:
            raise TooLarge(
                f"{where}: the job's circuits and arrays expand to more than "
                f"{EXPANDED_BYTES_MAX // 2**20} MiB",
                1208,
                "Split the job.",
            )
        self._left -= size
