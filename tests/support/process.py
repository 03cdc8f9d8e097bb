"""The service as a process of its own, to be killed and started again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICE = (sys.executable, "-m", "service", "run")
OPERATOR = "test-operator-token-of-enough-length-0123456789"


def service_after(program: str) -> tuple[str, ...]:
    """Return the command of a service before whose start *program* (Python) runs in its process."""
    start = (
        'import runpy, sys\nsys.argv = ["service", "run"]\nrunpy.run_module("service", run_name="__main__")\n'
    )
    return (sys.executable, "-c", f"{program}\n{start}")


class ServiceProcess:
    """`python -m service run` on *port*, with its database in *data_dir*.

    *command* is what runs in its place, *log* where it writes to when not into *data_dir*.
    """

    def __init__(
        self,
        *,
        data_dir: Path,
        port: int,
        environ: Mapping[str, str],
        command: Sequence[str] = SERVICE,
        log: Path | None = None,
    ) -> None:
        self._port = port
        self.url = f"http://127.0.0.1:{port}"
        self._log = log or data_dir / "service.log"
        self._command = command
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("SERVICE_")},
            "SERVICE_DATA_DIR": str(data_dir),
            "SERVICE_PORT": str(port),
            "SERVICE_LOG_LEVEL": "warning",
            "SERVICE_OPERATOR_TOKEN": OPERATOR,
            **environ,
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *, within_s: float = 30) -> None:
        """Start it and wait until it is ready."""
        self.spawn()
        self.wait_until_ready(within_s)

    def spawn(self) -> None:
        """Start it without waiting for anything."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environ,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def wait_until_ready(self, within_s: float = 30) -> None:
        deadline = time.monotonic() + within_s
        while self.readiness()[0] != 200:
            if not self.runs() or time.monotonic() > deadline:
                raise AssertionError(f"the service is not ready:\n{self.log_text()}")
            time.sleep(0.02)

    def readiness(self) -> tuple[int, str]:
        """Return what /readyz answers: the status, and what it says of the store; 0 when nobody answers."""
        connection = HTTPConnection("127.0.0.1", self._port, timeout=15)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())["parts"]["store"]
        except (OSError, HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()

    def runs(self) -> bool:
        """Say whether the process that was started last still lives."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL: nothing is flushed, nothing is said goodbye to."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; return the exit code."""
        return self._end(signal.SIGTERM)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        self._process.send_signal(number)
        code = self._process.wait(15)
        self._process = None
        return code

    def log_text(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-4000:]

    def failures(self) -> list[str]:
        """Return the log's lines of a bug: an unforeseen failure anywhere."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if "Traceback" in line or '"exception"' in line]
