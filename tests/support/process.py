"""The service as a process of its own, to be killed and started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]


class ServiceProcess:
    """`python -m service run` on *port*, with its database in *data_dir*."""

    def __init__(self, *, data_dir: Path, port: int, environ: Mapping[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._log = data_dir / "service.log"
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SERVICE_")},
            "SERVICE_DATA_DIR": str(data_dir),
            "SERVICE_PORT": str(port),
            "SERVICE_LOG_LEVEL": "warning",
            "SERVICE_OPERATOR_TOKEN": OPERATOR,
            **environ,
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, within_s: float = 20) -> None:
        """Start it and wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "service", "run"],
                cwd=ROOT,
                env=self._environ,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + within_s
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the service did not start:\n{self.log_text()}")
            time.sleep(0.02)

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing is said goodbye to."""
        self._signal(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        return self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(15)
        self._process = None
        return code

    def log_text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False


OPERATOR = "test-operator-token-of-enough-length-0123456789"
