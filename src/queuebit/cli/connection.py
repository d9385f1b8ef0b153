"""REST requests of one user to one service, and how a command finds both."""

import inspect
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self
from urllib.parse import quote, urlsplit

import httpx
import typer

from queuebit.account import service_url
from queuebit.cli.trust import Ca, context, mend, why_not
from queuebit.errors import QueuebitError, RequestError

ACCOUNT = "queuebit"  # name of the saved account unless --name gives another
TIMEOUT_S = 30.0  # the service holds no request longer than a few seconds
BODY_CHARS_MAX = 200  # of an unexpected answer that a message quotes

Url = Annotated[
    str | None,
    typer.Option("--url", envvar="QUEUEBIT_URL", help="Service to ask. [default: as logged in]"),
]
Token = Annotated[
    str | None,
    typer.Option("--token", envvar="QUEUEBIT_TOKEN", help="API key. [default: as logged in]"),
]
Instance = Annotated[
    str | None,
    typer.Option("--instance", help="Name or CRN of the instance. [default: as logged in]"),
]
Name = Annotated[str, typer.Option("--name", help="Name of the saved Qiskit account.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Which service, and who asks."""

    url: str
    token: str
    instance: str | None = None  # None: the only one that the key may use
    ca: Path | None = None  # file of the authorities to trust; None: the public ones


def account_file() -> Path:
    """Where the client keeps its accounts (`accounts/management.py`)."""
    return Path("~/.qiskit/qiskit-ibm.json").expanduser()


def bundle_file(name: str) -> Path:
    """Where the certificates are that the client of the account `name` trusts."""
    return account_file().with_name(f"{segment(name)}-ca.pem")


def saved_accounts() -> dict[str, dict[str, Any]]:
    """Every saved Qiskit account by name, whosever it is."""
    file = account_file()
    try:
        accounts = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise QueuebitError(f"{file} cannot be read: {error}") from None
    if not isinstance(accounts, dict):
        raise QueuebitError(f"{file} does not hold accounts")
    return accounts


def saved_login(name: str) -> Login | None:
    """The login that the account `name` holds; None if there is none of ours."""
    saved = saved_accounts().get(name, {})
    url = service_url(saved)
    if url is None:
        return None
    verify = saved.get("verify")
    return Login(
        url=url,
        token=saved.get("token", ""),
        instance=saved.get("instance"),
        ca=Path(verify) if isinstance(verify, str) else None,
    )


def find_login(
    *,
    name: Name = ACCOUNT,
    url: Url = None,
    token: Token = None,
    instance: Instance = None,
    ca: Ca = None,
) -> Login:
    """Find the saved account `name`; what the command line gives stands in its stead."""
    saved = saved_login(name)
    if saved is None and (url is None or token is None):
        raise QueuebitError("not logged in: queuebit login, or give --url and --token")
    if saved is not None:
        # A key is for one service: it is not sent to another.
        own = url is None or checked_url(url) in (saved.url, saved_accounts()[name]["url"])
        token = token or (saved.token if own else None)
        url = saved.url if own else url
        instance = instance or (saved.instance if own else None)
        ca = ca or (saved.ca if own else None)
    if token is None or url is None:
        raise QueuebitError(f"the saved key is not for {url}: give --token")
    return Login(url=checked_url(url), token=token, instance=instance, ca=ca)


def checked_url(url: str) -> str:
    """`url` without a path, or QueuebitError."""
    parts = urlsplit(url)
    try:
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # the port is not a number up to 65535
        valid = False
    if not valid or parts.path.strip("/") or parts.query or parts.username:
        raise QueuebitError(f"{url!r} is not the URL of a service, such as http://127.0.0.1:8888")
    return f"{parts.scheme}://{parts.netloc}"


class Connection:
    """Requests with a key that the service has accepted."""

    def __init__(self, login: Login, *, needs_instance: bool = True) -> None:
        self.login = login
        self._needs_instance = needs_instance
        # The environment's proxies are for the world outside; the service is not there.
        self._http = httpx.Client(
            base_url=login.url, timeout=TIMEOUT_S, trust_env=False, verify=context(login.ca)
        )
        self.instance = ""  # name of the instance that is asked for
        self.crn = ""  # and its CRN
        self.clock_ahead_s = 0.0  # the service's clock, compared with this machine's

    def __enter__(self) -> Self:
        try:
            self._authenticate()
        except BaseException:
            self._http.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def _authenticate(self) -> None:
        # The key itself, as IBM's API takes it too: the audit trail notes each token that is made.
        self._http.headers["Authorization"] = f"apikey {self.login.token}"
        instances = self.instances()
        if not self._needs_instance:
            return
        self.instance = self._choose(instances)
        self.crn = self._http.headers["Service-CRN"] = instances[self.instance]

    def instances(self) -> dict[str, str]:
        """CRN of each instance that the key may use, by name."""
        query = {"query": "service_name:quantum-computing", "fields": ["crn", "name"]}
        answer = self._send("POST", "/v3/resources/search", json=query)
        if answer.status_code in (401, 403):
            raise QueuebitError(f"{self.login.url} does not know this API key")
        items = _object(answer, self.login.url).get("items")
        if not isinstance(items, list):
            raise QueuebitError(
                f"{self.login.url} is not a Queuebit service: it lists no instances"
            )
        told = answer.headers.get("Date")
        if told:
            self.clock_ahead_s = parsedate_to_datetime(told).timestamp() - time.time()
        return {item["name"]: item["crn"] for item in items}

    def _choose(self, instances: dict[str, str]) -> str:
        wanted = self.login.instance
        names = ", ".join(instances) or "none"
        if wanted in (None, "auto"):
            if len(instances) != 1:
                raise QueuebitError(f"choose one with --instance: this key may use {names}")
            return next(iter(instances))
        for name, crn in instances.items():
            if wanted in (name, crn):
                return name
        raise QueuebitError(f"no instance {wanted!r} for this key: it may use {names}")

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """JSON object at `path` of the API; query values that are None are left out."""
        given = {key: value for key, value in query.items() if value is not None}
        return _object(self._send("GET", f"/api/v1{path}", params=given), self.login.url)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """JSON object that the API answers to `body`."""
        return _object(self._send("POST", f"/api/v1{path}", json=body), self.login.url)

    def change(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        """Send a request whose answer has no content."""
        answer = self._send(method, f"/api/v1{path}", json=body)
        if answer.is_error:
            raise _refusal(answer)

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, **content)
        except httpx.TransportError as error:
            raise QueuebitError(
                f"no service answers at {self.login.url} ({why_not(error)}): "
                f"{mend(error, self.login.url)}"
            ) from None
        return answer


def asks_service(
    command: Callable[..., None], *, needs_instance: bool = True
) -> Callable[..., None]:
    """Make a command of `command`, which is given a Connection before its own options."""
    own = inspect.signature(command, eval_str=True)
    whose = inspect.signature(find_login, eval_str=True)

    def run(**given: Any) -> None:
        login = find_login(**{key: given.pop(key) for key in whose.parameters})
        with Connection(login, needs_instance=needs_instance) as connection:
            command(connection, **given)

    options = [*list(own.parameters.values())[1:], *whose.parameters.values()]
    run.__name__ = command.__name__
    run.__doc__ = command.__doc__
    # Typer reads the options of a command from its signature.
    signature = own.replace(parameters=options)
    run.__signature__ = signature  # type: ignore[attr-defined] # typing knows no such attribute
    return run


def administers(command: Callable[..., None]) -> Callable[..., None]:
    """`asks_service` for what concerns no instance: an administrator may have none."""
    return asks_service(command, needs_instance=False)


def segment(name: str) -> str:
    """`name` as one segment of a path, whatever it holds."""
    return quote(name, safe="")


def _object(answer: httpx.Response, url: str) -> dict[str, Any]:
    if answer.is_error:
        raise _refusal(answer)
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise QueuebitError(
            f"{url} is not a Queuebit service: {answer.request.url.path} answered "
            f"{answer.text[:BODY_CHARS_MAX]!r}"
        )
    return found


def _refusal(answer: httpx.Response) -> QueuebitError:
    """The service's no, as the error of that status."""
    try:
        told = answer.json()["errors"][0]
        message, code = str(told["message"]), int(told.get("code") or 0)
        solution = str(told.get("solution") or "")
    except (ValueError, LookupError, TypeError):
        path = answer.request.url.path
        return QueuebitError(
            f"{answer.request.method} {path}: {answer.status_code} {answer.reason_phrase} "
            f"{answer.text[:BODY_CHARS_MAX]}".rstrip()
        )
    kinds = {kind.status: kind for kind in RequestError.__subclasses__()}
    return kinds.get(answer.status_code, RequestError)(message, code, solution)
