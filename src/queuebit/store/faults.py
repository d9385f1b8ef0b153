"""Which errors of the database and the file system pass by themselves.

Workers ask, too, so nothing here imports SQLAlchemy: its errors are known by their attributes.
"""

import errno
import sqlite3

_ERRNOS = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.EROFS,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,  # a file system that was mounted anew, to be repaired
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)
# PostgreSQL's classes: connection, rollback, resources, intervention of an operator, system.
_POSTGRESQL_FULL = "53100"
_POSTGRESQL = ("08", "40", "53", "55P03", "57", "58", "25006")
# What PostgreSQL says without a code to a client whose connection it refuses for good.
_FOR_GOOD = ("authentication failed", "does not exist", "no pg_hba.conf entry", "not permitted")


def is_passing(error: BaseException) -> bool:
    """Whether the same may work later: no room, no descriptors, a database that is away or busy."""
    orig = getattr(error, "orig", None)  # a driver's error, which SQLAlchemy has wrapped
    if isinstance(orig, BaseException):
        return getattr(error, "connection_invalidated", False) or is_passing(orig)
    match error:
        case sqlite3.Error():
            return _sqlite_kind(error) in _SQLITE
        case ConnectionError():
            return True
        case OSError():
            return error.errno in _ERRNOS
        case _ if hasattr(error, "sqlstate"):
            return _is_passing_postgresql(error)
        case _:  # or every connection of SQLAlchemy's pool is in use
            return type(error).__name__ == "TimeoutError" and hasattr(error, "code")


def is_full(error: BaseException) -> bool:
    """Whether it failed because the disk is full."""
    error = getattr(error, "orig", None) or error
    if isinstance(error, sqlite3.Error):
        return _sqlite_kind(error) == sqlite3.SQLITE_FULL
    if isinstance(error, OSError):
        return error.errno in _NO_ROOM
    return getattr(error, "sqlstate", None) == _POSTGRESQL_FULL


def said(error: BaseException) -> str:
    """What the system or the database said, in one line and without our statement."""
    orig = getattr(error, "orig", None) or error
    lines = str(orig).splitlines()
    return lines[0] if lines else type(orig).__name__


def _sqlite_kind(error: sqlite3.Error) -> int:
    """Its primary result code; 0: it is Python's own."""
    return (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


def _is_passing_postgresql(error: BaseException) -> bool:
    code = getattr(error, "sqlstate", None)
    if code is not None:
        return str(code).startswith(_POSTGRESQL)
    kinds = {kind.__name__ for kind in type(error).__mro__}
    is_of_connection = bool(kinds & {"OperationalError", "InterfaceError"})
    return is_of_connection and not any(words in str(error) for words in _FOR_GOOD)
