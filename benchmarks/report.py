"""The figures as people read them: ratios first, since they travel from machine to machine."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import ingest, log_filling, queue_rate, relays, servers, whole_path

Round = dict[str, Any]


def text(found: dict[str, Any]) -> str:
    """Return everything that was found, as lines."""
    return "\n".join(_lines(found))


def _lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"# Ratios, medians of {found['rounds']} rounds of {found['seconds']:g} s"
    if rounds := found.get("ingest"):
        yield from _ingest_ratios(rounds)
    if rounds := found.get("client"):
        yield from _client_ratios(rounds)
    if rounds := found.get("ingest"):
        yield from _ingest(rounds)
    if rounds := found.get("whole"):
        yield from _whole(rounds)
    if rounds := found.get("latency"):
        yield from _latency(rounds)
    if rounds := found.get("client"):
        yield from _client(rounds)
    if rounds := found.get("queue"):
        yield from _queue(rounds)
    if rounds := found.get("relays"):
        yield from _relays(rounds)
    if found.get("footprint"):
        yield from _footprint(found["footprint"])
    yield "\n# Machine"
    yield ", ".join(f"{name} {value}" for name, value in found["machine"].items())


def _median(rounds: Sequence[Round], figure: Callable[[Round], float]) -> float:
    return statistics.median(figure(one) for one in rounds)


def _row(name: str, value: str, wanted: str = "") -> str:
    return f"{name:<58} {value:>12}" + (f"   wanted {wanted}" if wanted else "")


def _ingest_ratios(rounds: Sequence[Round]) -> Iterator[str]:
    def ratio(figure: str, mine: str, theirs: str) -> float:
        return _median(rounds, lambda one: one[mine][figure] / one[theirs][figure])

    yield _row("rate: ours / raw ASGI", f"{ratio('rate', 'ours', 'raw'):.2f}", "0.27, aim 0.40")
    yield _row(
        "CPU a notification: ours / raw ASGI", f"{ratio('cpu_us', 'ours', 'raw'):.2f}", "3.5 at most, aim 2.5"
    )
    yield _row("rate: ours / Flask that stores", f"{ratio('rate', 'ours', 'flask_storing'):.1f}", "5, aim 8")
    yield _row("rate: ours / Flask that asks", f"{ratio('rate', 'ours', 'flask_asking'):.1f}")
    yield _row(
        "rate: ours confirming as fast as it can / Flask that asks",
        f"{ratio('rate', 'ours_unlimited', 'flask_asking'):.1f}",
    )


def _client_ratios(rounds: Sequence[Round]) -> Iterator[str]:
    def ratio(mine: str, theirs: str) -> str:
        return f"{_median(rounds, lambda one: one[mine] / one[theirs]):.2f}"

    yield _row("CPU of get_status: ours / httpx.Client", ratio("ours", "httpx"), "1.10 at most")
    yield _row(
        "CPU of get_status: ours / httpx.AsyncClient", ratio("ours_async", "httpx_async"), "1.10 at most"
    )
    yield _row("CPU of get_status: ours / official client", ratio("ours", "official"))


def _ingest(rounds: Sequence[Round]) -> Iterator[str]:
    yield f"\n# Taking in: {ingest.CONNECTIONS} connections, one core, SQLite synchronous=FULL"
    yield f"{'':<46} {'a second':>9} {'CPU µs':>8} {'p50 ms':>8} {'p99 ms':>8} {'core':>6} {'not 200':>8}"
    for name, shown in ingest.NAMES.items():
        cells = (
            f"{_median(rounds, lambda one, n=name, f=figure: one[n][f]):{form}}"  # type: ignore[misc]
            for figure, form in (
                ("rate", ">9.0f"),
                ("cpu_us", ">8.0f"),
                ("p50_ms", ">8.1f"),
                ("p99_ms", ">8.1f"),
                ("busy", ">6.0%"),
                ("not_200", ">8.0f"),
            )
        )
        yield f"{shown:<46} " + " ".join(cells)


def _whole(rounds: Sequence[Round]) -> Iterator[str]:
    settings = servers.WITHOUT_LIMITS.replace("\n", " ").strip()
    yield f"\n# Whole path, batches of {whole_path.BATCH}; settings: {settings}"
    yield _row("events a second", f"{_median(rounds, lambda one: one['events_per_s']):.0f}", "600, aim 1000")
    yield _row("CPU an event, µs", f"{_median(rounds, lambda one: one['cpu_us']):.0f}")
    yield _row("events a lease call", f"{_median(rounds, lambda one: one['batch']):.0f}")
    yield _row("server's core in use", f"{_median(rounds, lambda one: one['busy']):.0%}")


def _latency(rounds: Sequence[Round]) -> Iterator[str]:
    yield (
        f"\n# From notification to a waiting consumer, {whole_path.STEADY_PER_S} a second, "
        f"Midtrans answers in {whole_path.MIDTRANS_S * 1e3:g} ms"
    )
    yield _row("p50, ms", f"{_median(rounds, lambda one: one['p50_ms']):.1f}")
    yield _row("p99, ms", f"{_median(rounds, lambda one: one['p99_ms']):.1f}", "under 100")
    yield _row(
        "of it the answer to Midtrans, p99, ms", f"{_median(rounds, lambda one: one['answer_p99_ms']):.1f}"
    )
    yield _row("server's core in use", f"{_median(rounds, lambda one: one['busy']):.0%}")
    yield _row("never arrived", f"{max(one['not_arrived'] for one in rounds)}", "0")


def _client(rounds: Sequence[Round]) -> Iterator[str]:
    yield "\n# Client, CPU µs of one get_status"
    shown = {
        "httpx": "httpx.Client",
        "ours": "MidtransClient",
        "official": "midtransclient (official)",
        "httpx_async": "httpx.AsyncClient",
        "ours_async": "AsyncMidtransClient",
    }
    for name, title in shown.items():
        yield _row(title, f"{_median(rounds, lambda one, n=name: one[n]):.0f}")  # type: ignore[misc]
    import_ms = _median(rounds, lambda one: one["import_ms"])
    yield _row("importing it costs more than importing httpx, ms", f"{import_ms:.1f}", "15 at most")


def _queue(rounds: Sequence[Round]) -> Iterator[str]:
    for database in rounds[0]:
        ours = [one[database] for one in rounds]
        theirs = _median(ours, lambda one: one["procrastinate"]["rate"])
        yield f"\n# Leasing and acking over HTTP, {database}, events of {log_filling.BYTES} bytes"
        yield f"{'':<46} {'a second':>9} {'CPU µs':>8} {'core':>6} {'times procrastinate':>20}"
        for name, mode in queue_rate.MODES.items():
            rate = _median(ours, lambda one, n=name: one[n]["rate"])  # type: ignore[misc]
            cpu_us = _median(ours, lambda one, n=name: one[n]["cpu_us"])  # type: ignore[misc]
            busy = _median(ours, lambda one, n=name: one[n]["busy"])  # type: ignore[misc]
            wanted = _WANTED_OF_QUEUE[name].get(database, "")
            yield f"{mode.title:<46} {rate:>9.0f} {cpu_us:>8.0f} {busy:>6.0%} {rate / theirs:>20.1f}   {wanted}"
        yield _row("procrastinate, one worker, one by one", f"{theirs:.0f}")


_WANTED_OF_QUEUE = {
    "batches": dict.fromkeys(("sqlite", "postgres"), "wanted 15000 a second, aim 25000"),
    "batches_4": {},
    "one": {"sqlite": "wanted 4 times", "postgres": "wanted 3 times"},
    "many": dict.fromkeys(("sqlite", "postgres"), "wanted 10 times"),
    "many_clients": {},
}


def _relays(rounds: Sequence[Round]) -> Iterator[str]:
    yield f"\n# Relaying, SQLite, events of {log_filling.BYTES} bytes, confirmed by the broker"
    yield f"{'':<46} {'a second':>9} {'CPU µs':>8} {'core':>6}"
    for name, title in relays.TITLES.items():
        rate, cpu_us, busy = (
            _median(rounds, lambda one, n=name, f=figure: one[n][f])  # type: ignore[misc]
            for figure in ("rate", "cpu_us", "busy")
        )
        yield f"{title:<46} {rate:>9.0f} {cpu_us:>8.0f} {busy:>6.0%}   wanted 5000 a second"


def _footprint(found: Round) -> Iterator[str]:
    yield f"\n# What `run` holds while {found['notifications']} notifications pass"
    yield _row("memory at rest, MiB", f"{found['samples'][0]['rss_mib']:.0f}", "under 110")
    yield f"{'notifications':>14} {'MiB':>7} {'threads':>8} {'descriptors':>12} {'WAL MiB':>8} {'queued':>7}"
    for one in found["samples"]:
        yield (
            f"{one['notifications']:>14} {one['rss_mib']:>7.1f} {one['threads']:>8} "
            f"{one['descriptors']:>12} {one['wal_mib']:>8.1f} {one['queued']:>7}"
        )
    yield _row("database, bytes a notification", f"{found['database_bytes']:.0f}")
    yield _row("beside the raw body", f"{found['beside_raw_bytes']:.0f}", "3072 at most")
