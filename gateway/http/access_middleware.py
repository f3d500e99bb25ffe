"""HTTP middleware: reject unknown Host headers, foreign origins and missing tokens."""

import logging

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from gateway.security.access import AccessControl, bearer
from gateway.security.origins import Hosts, Origins
from gateway.validation import shown
from protocol.logs import RateLimitedLog

log = logging.getLogger(__name__)

PUBLIC_PATH = "/health"
"""Needs no token: it only says that the server is alive."""
OWN_CHECKS = ("/socket.io", "/personalities/")
"""Socket.IO checks the token at connect. Avatars are public: an <img> cannot send a token."""


def access_middleware(access: AccessControl, hosts: Hosts, origins: Origins) -> Middleware:
    refused = RateLimitedLog(log)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        path = request.path
        if path == PUBLIC_PATH:
            return await handler(request)
        host = request.headers.get("Host")
        if not hosts(host):
            refused.warning("refused a request for the host %s", shown(host))
            return _refusal(
                403,
                f"{shown(host)} is not a known name of this server; if it should be, add it to "
                "--cors_origins",
            )
        origin = request.headers.get("Origin")
        if not origins(origin, {"HTTP_HOST": host or ""}):
            refused.warning(
                "refused a page of %s; to allow it, add it to --cors_origins", shown(origin)
            )
            return _refusal(403, f"pages of {shown(origin)} may not connect: see --cors_origins")
        if "j" in request.query:  # JSONP: any page could read the answer
            return _refusal(400, "JSONP is not supported")
        if not path.startswith(OWN_CHECKS) and access.holder(bearer(request.headers)) is None:
            refused.warning("refused %s without a known token", shown(path))
            return _refusal(401, "a token is needed here: Authorization: Bearer TOKEN")
        return await handler(request)

    return check


def _refusal(status: int, error: str) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return web.json_response({"error": error}, status=status, headers=headers)
