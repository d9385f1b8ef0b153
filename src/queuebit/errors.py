"""Every error of ours, in one tree.

QueuebitError
├── ConfigError         the operator's configuration is wrong
├── ServiceFault        our own failure: never the user's, never charged
│   ├── Unavailable     503: the service cannot do it now; nothing of it was done
│   └── DamagedPayload  a job's file on the disk is not what was written
│       └── MissingPayload
└── RequestError        the user's mistake, told as IBM's API tells it
    ├── InvalidInput    400
    ├── Unauthorized    401
    ├── Forbidden       403
    ├── NotFound        404
    ├── Conflict        409
    ├── Gone            410
    ├── TooLarge        413
    ├── TooManyRequests 429
    │   └── Busy        503
    ├── StorageFull     507
    └── DamagedRecord   500
"""


def advised(message: str, solution: str) -> str:
    """What is wrong, and what to do instead, as one text."""
    if not solution:
        return message
    stop = "" if message.endswith((".", "?", "!")) else "."
    return f"{message}{stop} {solution}"


class QueuebitError(Exception):
    """Something in Queuebit failed; the message says what and by which rule."""


class ConfigError(QueuebitError):
    """The configuration names something that does not exist or breaks a rule."""


class ServiceFault(QueuebitError):
    """The service failed, not the user: the job is not charged."""


class Unavailable(ServiceFault):
    """The service cannot do it now, and has done nothing of it: another try makes sense."""


class DamagedPayload(ServiceFault):
    """A file of a job is not what was written; the message names both."""


class MissingPayload(DamagedPayload, FileNotFoundError):
    """A file of a job is not there."""


class RequestError(QueuebitError):
    """A request breaks a rule.

    `code` is IBM's error number (docs/endpoints.md), `solution` says what to do instead.
    Crosses process boundaries, so everything it holds is in `args`.
    """

    status = 400

    def __init__(self, message: str, code: int = 1208, solution: str = "") -> None:
        super().__init__(message, code, solution)
        self.message = message
        self.code = code
        self.solution = solution

    def __str__(self) -> str:
        return self.message


class InvalidInput(RequestError):
    """The request is understood and refused."""

    status = 400


class Unauthorized(RequestError):
    """No valid token or key came with the request."""

    status = 401


class Forbidden(RequestError):
    """The caller is known and may not do this."""

    status = 403


class NotFound(RequestError):
    """There is no such thing, or it is not the caller's."""

    status = 404


class Conflict(RequestError):
    """The thing's present state does not allow this."""

    status = 409


class Gone(RequestError):
    """It was there, and is no more."""

    status = 410


class TooLarge(RequestError):
    """The request is over a size limit."""

    status = 413


class TooManyRequests(RequestError):
    """The caller is over a rate limit; another try makes sense `retry_after_s` later."""

    status = 429

    def __init__(
        self, message: str, code: int = 1202, solution: str = "", retry_after_s: int = 1
    ) -> None:
        super().__init__(message, code, solution)
        self.args = (message, code, solution, retry_after_s)
        self.retry_after_s = retry_after_s


class StorageFull(RequestError):
    """There is no room for what the request would keep."""

    status = 507


class Busy(TooManyRequests):
    """The service has no room for the request now; nothing came of it."""

    status = 503


class DamagedRecord(RequestError):
    """What is asked for is in the database and cannot be read: no fault of the user's."""

    status = 500
