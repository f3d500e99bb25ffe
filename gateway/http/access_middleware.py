"""Which HTTP requests are let in, whatever they want?"""

import logging

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.security.access import Current, bearer
from gateway.security.origins import Hosts, Origins
from gateway.validation import shown
from protocol.logs import RateLimitedLog

log = logging.getLogger(__name__)

OPEN = "/health"
"""Tells nobody anything but that we are alive."""
BY_THEMSELVES = ("/socket.io", "/personalities/")
"""The first is asked for its token when it connects. The second are the pictures of the
listing: an <img> of a page cannot send a token."""


def door(access: Current, hosts: Hosts, origins: Origins) -> Middleware:
    """A name that is not ours is refused, a page from elsewhere, and who has no token where
    one is needed."""
    limited_log = RateLimitedLog(log)

    @web.middleware
    async def look(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.path
        if path == OPEN:
            return await handler(request)
        host = request.headers.get("Host")
        if not hosts(host):
            limited_log.warning("refused a request for the host %s", shown(host))
            return _refusal(
                403,
                f"this server does not know itself as {shown(host)}; if that is its name, start "
                "it with --cors_origins naming it",
            )
        origin = request.headers.get("Origin")
        if not origins(origin, {"HTTP_HOST": host or ""}):
            limited_log.warning("refused a page of %s; --cors_origins lets it in", shown(origin))
            return _refusal(403, f"pages of {shown(origin)} may not connect: see --cors_origins")
        if "j" in request.query:  # JSONP: any page could read the answer
            return _refusal(400, "JSONP is not spoken here")
        if not path.startswith(BY_THEMSELVES) and access.holder(bearer(request.headers)) is None:
            limited_log.warning("refused %s without a token that is known", shown(path))
            return _refusal(401, "a token is needed here: Authorization: Bearer TOKEN")
        return await handler(request)

    return look


def _refusal(status: int, error: str) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.json_response({"error": error}, status=status, headers=headers)
