"""What the README says is run as its reader would: the calls of a consumer, and the consumer in Python."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (found,) = [text for text in blocks if containing in text]
    return str(found)


@pytest.fixture
def demo(tmp_path: Path, free_port: int) -> Iterator[dict[str, str]]:
    """Run the demo that ``make run`` runs; return the environment of its reader's second terminal."""
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "run", "--try-out"],
        env={**os.environ, "SERVICE_DATA_DIR": str(tmp_path), "SERVICE_PORT": str(free_port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    )
    url = f"http://127.0.0.1:{free_port}"
    try:
        wait_until_ready(url)
        token = (tmp_path / "demo" / str(free_port) / "operator.token").read_text().strip()
        yield {"URL": url, "TOKEN": token}
    finally:
        process.terminate()
        process.wait(10)


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(f"{url}/readyz").raise_for_status()
        except httpx.HTTPError:
            assert time.monotonic() < deadline, "the demo did not start"
            time.sleep(0.1)
        else:
            return


def curl(line: str, demo: dict[str, str], lease: str = "...") -> httpx.Response:
    """Do what a line of the README does, with the headers that curl sends; *lease* stands for its dots."""
    found = re.fullmatch(r"curl (-X PUT )?\$URL(\S+) -H \"(\S+): Bearer \$TOKEN\" -d '(.*)'", line)
    assert found is not None, line
    headers = {found[3]: f"Bearer {demo['TOKEN']}", "Content-Type": "application/x-www-form-urlencoded"}
    method, data = "PUT" if found[1] else "POST", found[4].replace("...", lease)
    answer = httpx.request(method, demo["URL"] + found[2], headers=headers, content=data, timeout=30)
    assert answer.is_success, f"{line}: {answer.text}"
    return answer


def calls() -> list[str]:
    return [line for line in block("sh", "/lease").splitlines() if line.startswith("curl ")]


def test_the_calls_of_the_readme_work_as_they_stand(demo: dict[str, str]) -> None:
    make, lease, ack = calls()
    assert curl(make, demo).status_code == 201
    lent = curl(lease, demo).json()["deliveries"][0]["lease"]
    assert curl(ack, demo, lent).json() == {"acked": [lent], "ended": []}


def test_the_consumer_of_the_readme_prints_every_payment(demo: dict[str, str]) -> None:
    curl(calls()[0], demo)
    program = block("python", "while True")
    assert len(program.strip().splitlines()) <= 20
    process = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, **demo}, stdout=subprocess.PIPE, text=True
    )
    seen: set[str] = set()
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            order_id, status, amount = line.split()
            assert order_id.startswith("demo-")
            assert amount.endswith(".00")
            seen.add(status)
            if {"settled", "expired"} <= seen:
                break
        process.kill()


def test_the_readme_names_no_file_that_is_not_there() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    missing = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert missing == []


def test_the_settings_page_is_what_the_settings_say() -> None:
    subprocess.run(
        [sys.executable, str(ROOT / "tools" / "settings_page.py"), "--check"], check=True, timeout=60
    )
