"""The peer: ``URL defer COUNT`` makes the tables and jobs that do nothing, ``URL work`` runs them one by one."""

import asyncio
import logging
import sys

import procrastinate
from procrastinate.types import JSONValue


def _app(url: str) -> procrastinate.App:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))
    app.task(name="nothing")(_nothing)
    return app


async def _nothing(event: str) -> None:
    """Take what an event is as long as, and do nothing."""


async def _defer(url: str, count: int) -> None:
    app = _app(url)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        task = app.configure_task("nothing")
        for first in range(0, count, 1000):
            arguments: dict[str, JSONValue] = {"event": "x" * 1000}
            await task.batch_defer_async(*[arguments] * min(1000, count - first))


async def _work(url: str) -> None:
    app = _app(url)
    async with app.open_async():
        await app.run_worker_async(concurrency=1, wait=True)


if __name__ == "__main__":
    logging.disable()
    if sys.argv[2] == "defer":
        asyncio.run(_defer(sys.argv[1], int(sys.argv[3])))
    else:
        asyncio.run(_work(sys.argv[1]))
