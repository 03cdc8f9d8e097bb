"""What any ASGI service costs at least: the body is read, 200 is answered. Run with a port as argument."""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

from service.cli.ports import listen
from service.cli.run import served
from service.settings import load

Message = MutableMapping[str, Any]
_BODY = b'{"status":"accepted","id":"00000000-0000-0000-0000-000000000000"}'
_HEADERS = ((b"content-type", b"application/json"), (b"content-length", str(len(_BODY)).encode()))


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer as long an answer as the service does."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})


if __name__ == "__main__":
    config = served(app, load({}))
    config.http = "httptools"  # uvicorn's own, without the bounds that we add
    with listen("127.0.0.1", int(sys.argv[1])) as listener:
        uvicorn.Server(config).run(sockets=[listener])
