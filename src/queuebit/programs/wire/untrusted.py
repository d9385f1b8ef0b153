"""Libraries that trust what they read, called on what a user sent."""

from collections.abc import Iterator
from contextlib import contextmanager

from qiskit.exceptions import QiskitError

from queuebit.errors import InvalidInput


@contextmanager
def untrusted(where: str) -> Iterator[None]:
    """Whatever is raised inside is the user's mistake, and named after `where`.

    That is: the library's errors, Python's, and a panic of a Rust part, which is no Exception. But
    a lack of memory is for the worker to tell.
    """
    try:
        yield
    except (InvalidInput, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - see above
        raise InvalidInput(f"{where}: {_said(error)}", 1208) from None


def _said(error: BaseException) -> str:
    """What a library says of a wrong value; of anything else only that it could not go on."""
    text = str(error).strip()[:500] if isinstance(error, ValueError | QiskitError) else ""
    return text or "this cannot be read"
