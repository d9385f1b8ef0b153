"""Libraries that trust what they read, called on what a user sent."""

from collections.abc import Iterator
from contextlib import contextmanager

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
        raise InvalidInput(f"{where}: {type(error).__name__}: {str(error)[:500]}", 1208) from None
