"""Paths in which slashes follow each other, as clients make them of a base URL that ends in one."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send


class Slashes:
    """ASGI middleware that takes several slashes for one: //identity/token is /identity/token.

    QRMI asks so, and IBM's edge answers. It stands before whatever looks at the path.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass `scope` on."""
        if scope["type"] == "http" and "//" in scope["path"]:
            raw = re.sub(b"//+", b"/", scope["raw_path"])
            scope = {**scope, "path": re.sub("//+", "/", scope["path"]), "raw_path": raw}
        await self._app(scope, receive, send)
