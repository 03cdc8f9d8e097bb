# syntax=docker/dockerfile:1
FROM python:3.13-slim-bookworm AS builder

WORKDIR /build
COPY requirements/relays.txt requirements/relays.txt
# relays.txt is service.txt with the clients of all brokers.
# A virtual environment is all that the second stage takes over: no compiler, no cache, no pip of ours.
RUN python3 -m venv /opt/venv \
    && /opt/venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check --require-hashes \
       -r requirements/relays.txt

FROM python:3.13-slim-bookworm

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SERVICE_DATA_DIR=/data \
    SERVICE_HOST=0.0.0.0 \
    SERVICE_PORT=8000

# The number, not the name, so that a cluster can check that it is not root.
RUN groupadd --gid 10001 service \
    && useradd --no-log-init --uid 10001 --gid service --home-dir /app --no-create-home --shell /usr/sbin/nologin service \
    && install --directory --owner=service --group=service --mode=0700 /data

WORKDIR /app
COPY --from=builder /opt/venv /opt/venv
COPY django_midtrans django_midtrans
COPY service service

USER 10001:10001
VOLUME ["/data"]
EXPOSE 8000

# Ready means: a commit reaches the disk. A failing worker does not make it unready (docs/operating.md).
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python3", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['SERVICE_PORT'] + '/readyz', timeout=4)"]

ENTRYPOINT ["python3", "-m", "service"]
CMD ["run"]
