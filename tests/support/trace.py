"""Reads a trace of system calls, and says which 2xx left before the disk had what it stands for.

What is looked for, in the WAL (sqlite.org/fileformat2.html#walformat): the first committed transaction whose pages
hold the receipt's id. It ends with a frame whose header names the database's size. After that frame was written,
and before the answer's first byte was, an fsync of the WAL must have begun and ended well.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

TRACED = "fsync,fdatasync,pwrite64,write,sendto,sendmsg,writev"
WAL = b"-wal"
FRAME_HEADER = 24
_ENDS_WELL = re.compile(r"\)\s+= (\d+)")
_CALL = re.compile(r"(\d+) +(\w+)\((\d+)(?:<([^>]*)>)?(.*)")
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_ACCEPTED = re.compile(rb'"status":"accepted","id":"([0-9a-f-]{36})"')


def strace(output: Path) -> tuple[str, ...]:
    """Return what to put before a command: it keeps its process id, and the trace ends with it."""
    return (
        "strace", "-D", "-f", "--seccomp-bpf", "-y", "-xx", "-s", "200000", "-e", f"trace={TRACED}", "-e",
        "signal=none", "-o", str(output),
    )  # fmt: skip


@dataclass
class Call:
    """One system call: the lines of the trace where it began and where it had ended, -1 while it has not."""

    name: str
    fd: int
    path: bytes
    data: bytes
    began: int
    ended: int = -1
    ok: bool = False


@dataclass
class _Commit:
    """A transaction in the WAL: its bytes, and the line where its last frame was written."""

    pages: list[bytes] = field(default_factory=list)
    written: int = -1
    synced: int = -1


@dataclass
class Proof:
    """What a trace shows."""

    answers: int
    violations: list[str]


def read_calls(lines: list[str]) -> list[Call]:
    """Return the calls in the order in which they began; one begun in one thread may end after others."""
    calls: list[Call] = []
    open_calls: dict[str, tuple[Call, str]] = {}
    for number, line in enumerate(lines):
        resumed = _RESUMED.match(line)
        if resumed:
            begun = open_calls.pop(resumed[1], None)
            if begun is not None:
                _end(begun[0], begun[1] + resumed[3], number)
            continue
        call = _CALL.match(line)
        if call is None:
            continue
        thread, name, fd, path, rest = call.groups()
        calls.append(Call(name, int(fd), _bytes(path or ""), b"", number))
        if rest.endswith("<unfinished ...>"):
            open_calls[thread] = calls[-1], rest
        else:
            _end(calls[-1], rest, number)
    return calls


def prove(lines: list[str]) -> Proof:
    """Check every answer 200 of the trace."""
    calls = read_calls(lines)
    commits = list(_commits(calls))
    answers = list(_answers(calls))
    problems = (_problem(receipt, began, commits) for receipt, began in answers)
    return Proof(len(answers), [problem for problem in problems if problem])


def _problem(receipt: str, began: int, commits: list[_Commit]) -> str | None:
    mark = UUID(receipt).bytes
    found = next((commit for commit in commits if any(mark in page for page in commit.pages)), None)
    if found is None or found.written > began or found.written < 0:
        return f"{receipt}: answered before it was written"
    if found.synced < 0 or found.synced > began:
        return f"{receipt}: answered before the disk had it"
    return None


def _commits(calls: list[Call]) -> Iterator[_Commit]:
    """Yield the WAL's transactions, each with the line where the first fsync begun after it had ended.

    One thread writes the WAL, so that the order of the beginnings is the order of everything.
    """
    current, header = _Commit(), b""
    done: list[_Commit] = []
    for call in calls:
        if not call.path.endswith(WAL):
            continue
        if call.name in ("fsync", "fdatasync"):
            for commit in done:
                if call.ok and commit.synced < 0 and commit.written < call.began:
                    commit.synced = call.ended
        elif len(call.data) == FRAME_HEADER:
            header = call.data
        elif header:
            current.pages.append(call.data)
            if struct.unpack(">I", header[4:8])[0]:  # the database's size: the transaction ends here
                current.written = call.ended
                done.append(current)
                current = _Commit()
            header = b""
    yield from done


def _answers(calls: list[Call]) -> Iterator[tuple[str, int]]:
    """Yield the receipts that were answered 200 on a socket, and the line where each answer began to leave."""
    began: dict[int, int] = {}
    said: dict[int, bytes] = {}
    for call in calls:
        if not call.path.startswith(b"socket:"):
            continue
        if b"HTTP/1.1 " in call.data:
            began[call.fd], said[call.fd] = call.began, b""
        said[call.fd] = said.get(call.fd, b"") + call.data
        accepted = _ACCEPTED.search(said[call.fd])
        if accepted is not None and b"HTTP/1.1 200" in said[call.fd]:
            yield accepted[1].decode(), began[call.fd]
            said[call.fd] = b""


def _end(call: Call, rest: str, number: int) -> None:
    call.data = b"".join(_bytes(text) for text in _TEXT.findall(rest))
    call.ended = number
    call.ok = _ENDS_WELL.search(rest) is not None


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", "")) if text.startswith("\\x") else text.encode()
