"""Is this process alive, is it ready, what has it counted."""

import asyncio

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse

from service.api.auth import BEARER, operator
from service.api.context import Context
from service.api.describe import errors
from service.errors import StoreError

PROBE_S = 5.0

router = APIRouter(tags=["health"])


@router.get(
    "/healthz",
    summary="Is the process alive",
    responses={200: {"content": {"application/json": {"example": {"status": "alive"}}}}},
)
async def healthz() -> dict[str, str]:
    """Answer as long as the event loop turns."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    summary="Is this process ready",
    response_model=None,
    responses={
        200: {
            "content": {"application/json": {"example": {"status": "ready", "parts": {"worker": "ok"}}}},
            "description": "A commit succeeds. `degraded`: another part of this process is failing.",
        },
        503: {
            "content": {
                "application/json": {"example": {"status": "unready", "parts": {"store": "disk full"}}}
            },
            "description": "Nothing can be stored.",
        },
    },
)
async def readyz(context: Context) -> Response:
    """Say whether a commit succeeds just now (tried at most once a second).

    A failing worker shows as `degraded` and never takes the receiver away.
    """
    parts = {name: trouble or "ok" for name, trouble in context.parts().items()}
    trouble = await _store_trouble(context)
    parts = {"store": trouble or "ok", **parts}
    degraded = any(text != "ok" for text in parts.values())
    status = "unready" if trouble else "degraded" if degraded else "ready"
    return JSONResponse({"status": status, "parts": parts}, 503 if trouble else 200)


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    response_model=None,
    dependencies=[BEARER, Depends(operator)],
    responses={
        200: {"content": {"text/plain": {"example": "midtrans_events_total{…} 1.0"}}},
        **errors(401, 403),
    },
)
def metrics(context: Context) -> Response:
    """Return every counter, histogram and gauge in Prometheus' text format."""
    content, media_type = context.metrics.render()
    return Response(content, media_type=media_type)


async def _store_trouble(context: Context) -> str | None:
    probe: asyncio.Future[None] = asyncio.wrap_future(context.store.probe())
    probe.add_done_callback(_look_at)
    done, _ = await asyncio.wait((probe,), timeout=PROBE_S)  # shared with other callers: never cancelled
    if not done:
        return f"no commit within {PROBE_S:g} s"
    try:
        probe.result()
    except StoreError as error:
        return str(error)
    return None


def _look_at(probe: "asyncio.Future[None]") -> None:
    """Take note of a failure that nobody waits for any more, which asyncio would log as forgotten."""
    if not probe.cancelled():
        probe.exception()
