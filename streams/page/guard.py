"""Who may look: whoever is on this machine, or whoever posted the token once."""

import hmac
import secrets
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from streams.client.http_intake import names_loopback

COOKIE: Final = "streams-page"
TOKEN_CHARACTERS: Final = 32
"""The fewest that a token may have: nobody can guess it."""
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer: nothing inline, nothing from elsewhere, and nothing for other sites."""


class Guard:
    """Lets requests pass; `token` None: those to this machine by its own name.

    A cookie holds for as long as the process runs, and says nothing of the token. Without a token
    the name that was asked for is checked: a stranger's site may point its own at 127.0.0.1.
    """

    def __init__(self, token: str | None) -> None:
        self._token: Final = token
        self._session: Final = secrets.token_urlsafe(32)

    @property
    def open(self) -> bool:
        """Whether no token is asked for."""
        return self._token is None

    def knows_host(self, request: web.Request) -> bool:
        """Tell whether a request names a host that is ours."""
        return not self.open or names_loopback(request)

    def passes(self, request: web.Request) -> bool:
        """Tell whether a request may see anything."""
        given = request.cookies.get(COOKIE, "")
        return self.open or hmac.compare_digest(given.encode(), self._session.encode())

    def admit(self, token: str, answer: web.StreamResponse, request: web.Request) -> bool:
        """Give the cookie to whoever posts the token; tell whether it was the right one."""
        if self._token is None or not hmac.compare_digest(token.encode(), self._token.encode()):
            return False
        answer.set_cookie(
            COOKIE, self._session, httponly=True, samesite="Strict", secure=request.secure
        )
        return True
