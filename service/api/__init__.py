"""HTTP in: the notification endpoint (plain ASGI, before FastAPI) and the API under /v1."""
