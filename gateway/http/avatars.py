"""Serve the avatars of listed personalities over HTTP, and no other file of the zoo."""

import asyncio

from aiohttp import web

from gateway.personalities.zoo import Zoo
from gateway.storage.untrusted_files import inside, read_regular

MAX_BYTES = 4_000_000
TYPES = {
    "gif": "image/gif", "webp": "image/webp", "png": "image/png", "jpg": "image/jpeg",
    "jpeg": "image/jpeg", "bmp": "image/bmp",
}  # fmt: skip
"""Media type by suffix; `nosniff` keeps browsers from guessing another one."""


def add_avatar_routes(app: web.Application, zoo: Zoo) -> None:
    async def avatar(request: web.Request) -> web.Response:
        content = await _content(zoo, request.match_info["path"])
        if content is None:
            return web.Response(status=404, text="There is no such avatar.\n")
        return web.Response(
            body=content,
            content_type=TYPES[request.match_info["path"].rpartition(".")[2]],
            headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "max-age=60"},
        )

    app.router.add_get("/personalities/{path:.+}", avatar)


async def _content(zoo: Zoo, path: str) -> bytes | None:
    file = await zoo.avatar(path)
    if file is None:
        return None
    real = await asyncio.to_thread(inside, file, zoo.root)
    if real is None:
        return None
    try:
        return await asyncio.to_thread(read_regular, real, MAX_BYTES)
    except OSError:
        return None
