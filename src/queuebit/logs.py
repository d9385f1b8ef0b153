"""Logs: one line a record, as text or JSON, from the service and its workers alike.

Standard library: all that logs here, and every library, speaks `logging` already, so another one
would only stand before it. What may not be in a log is kept out in one place, the formatter: of an
exception it tells type and place, never its message, which may quote what a user sent.
"""

import json
import logging
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TextIO

from queuebit.errors import ConfigError, ServiceFault

FIELD_MAX = 4_000  # characters of one value
FRAMES_MAX = 20  # of a traceback, the innermost

log = logging.getLogger(__name__)

# The attributes of every record; what else it has came as `extra`.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@dataclass(slots=True)
class Seen:
    """A request, as far as it is known yet: what all lines and the audit trail tell of it."""

    request: str
    """Its id, which the answer carries as `uber-trace-id`."""
    at: int
    """When it came: ms since the epoch, by the wall clock."""
    address: str = ""
    user: str | None = None  # None: not known, or not yet; likewise the next ones
    key: str | None = None
    """Id of the API key, itself or behind the token."""
    instance: str | None = None
    code: int | None = None
    """IBM's number of the error that it was answered with."""


SEEN: ContextVar[Seen | None] = ContextVar("SEEN", default=None)
"""The request under way in this task; None: none is."""
_ABOUT: ContextVar[Mapping[str, object]] = ContextVar("_ABOUT", default={})  # noqa: B039 - never changed


@contextmanager
def about(**fields: object) -> Iterator[None]:
    """Have every line inside tell `fields` too, whoever writes it."""
    token = _ABOUT.set({**_ABOUT.get(), **fields})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def configure(form: str, level: str, stream: TextIO | None = None) -> None:
    """Have this process log in `form`, text or json, to `stream` or standard error.

    `level` holds for our own lines. Libraries tell from warning on: at debug some of them, such as
    aiosqlite, would tell every value that is stored.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonForm() if form == "json" else TextForm())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("queuebit").setLevel(level.upper())
    warnings.showwarning = _on_warning
    sys.excepthook = _on_exception


def redirect(stream: TextIO) -> None:
    """Have this process log to `stream` from now on."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(stream)


def _on_warning(  # noqa: PLR0913, PLR0917 - the signature of warnings.showwarning
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Tell where it is, but not the text: it may quote a circuit."""
    del message, file, line
    told = {"category": category.__name__, "at": f"{filename}:{lineno}"}
    log.warning("a library warns", extra=told)


def _on_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    log.critical("ended by an exception", exc_info=(kind, error, trace))


class _Form(logging.Formatter):
    """What the two forms have in common: the fields of a record."""

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """All that a line tells, in order."""
        seconds, ms = divmod(int(record.created * 1_000), 1_000)
        told: dict[str, Any] = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{ms:03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            "pid": record.process,
        }
        seen = SEEN.get()
        if seen is not None:
            told |= {"request": seen.request, "user": seen.user, "instance": seen.instance}
        told |= _ABOUT.get()
        told |= {key: value for key, value in vars(record).items() if key not in _USUAL}
        if record.exc_info and record.exc_info[1] is not None:
            told["error"] = where(record.exc_info[1])
        return {key: _short(value) for key, value in told.items() if value is not None}


class JsonForm(_Form):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return json.dumps(self.fields(record), ensure_ascii=True)


class TextForm(_Form):
    """`TIME LEVEL LOGGER: MESSAGE key=value ...`; what holds spaces is quoted, as in JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        told = self.fields(record)
        head = f"{told.pop('time')} {told.pop('level').upper()} {told.pop('logger')}: "
        message = " ".join(str(told.pop("message")).split())
        del told["pid"]
        return head + " ".join([message, *(f"{key}={_word(told[key])}" for key in told)])


def where(error: BaseException) -> str:
    """Types of `error` and of its causes, and where they were raised, in one line.

    No messages, except the system's own: an exception may quote what a user sent.
    """
    told: list[str] = []
    one: BaseException | None = error
    while one is not None and len(told) <= FRAMES_MAX:
        frames = traceback.extract_tb(one.__traceback__)[-FRAMES_MAX:]
        at = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[::-1])
        told.append(f"{type(one).__name__}{_said(one)} at {at or 'nowhere'}")
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return "; from ".join(told)


def _said(error: BaseException) -> str:
    """What an operator has to mend, where the system says it and not a user's data."""
    if isinstance(error, OSError) and error.strerror:
        return f" ({error.strerror})"
    told = isinstance(error, ImportError | ConfigError | ServiceFault)
    return f" ({error})" if told else ""


def _message(record: logging.LogRecord) -> str:
    """Our own message; of a library's only its first line, without what was put into it.

    asyncio, for one, adds the exceptions of tasks as they print themselves.
    """
    if record.name.partition(".")[0] == "queuebit":
        return record.getMessage()
    return str(record.msg).strip().partition("\n")[0]


def _short(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        return value
    text = str(value)
    return text if len(text) <= FIELD_MAX else text[:FIELD_MAX] + "..."


def _word(value: Any) -> str:
    """`value` as it stands after `key=`: no line break and no quote of a user's gets out."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(" \"'=\\")
    return text if plain and text else json.dumps(text)
