"""``python -m benchmarks``: measures in alternating rounds, prints ratios first."""

import argparse
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import client_cost, footprint, ingest, machine, queue_rate, relays, report, whole_path

PARTS = ("ingest", "whole", "latency", "client", "queue", "relays", "footprint")


def main() -> None:
    """Measure what was asked for, print it, and write it where it was asked for."""
    options = _options()
    folder = Path(tempfile.mkdtemp(prefix="bench-", dir=options.dir))
    try:
        found = _measure(options, folder)
    finally:
        if "queue" in (options.only or PARTS):
            queue_rate.remove_databases()
        shutil.rmtree(folder)
    print(report.text(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


def _measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    bench = ingest.Bench(machine.Cores.of_this_machine(), folder, options.seconds)
    os.sched_setaffinity(0, {bench.cores.load})
    found: dict[str, Any] = {"machine": machine.facts(folder), "rounds": options.rounds}
    found["seconds"] = options.seconds
    wanted = options.only or PARTS
    requests = ingest.requests_for(options.seconds) if "ingest" in wanted else []
    rounds: dict[str, list[Any]] = {part: [] for part in PARTS[:-1] if part in wanted}
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
        if "ingest" in rounds:
            rounds["ingest"].append(ingest.one_round(bench, number, requests))
        if "whole" in rounds:
            rounds["whole"].append(whole_path.throughput(bench, number))
        if "latency" in rounds:
            rounds["latency"].append(whole_path.latency(bench, number))
        if "client" in rounds:
            rounds["client"].append(client_cost.one_round(bench, number))
        if "queue" in rounds:
            rounds["queue"].append(
                {
                    database: queue_rate.one_round(bench, number, events=options.events, database=database)
                    for database in options.database or ("sqlite",)
                }
            )
        if "relays" in rounds:
            rounds["relays"].append(relays.one_round(bench, number, events=options.events))
    found |= rounds
    if "footprint" in wanted:
        print(f"footprint over {options.notifications} notifications", file=sys.stderr, flush=True)
        found["footprint"] = footprint.measure(bench, options.notifications)
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="medians are taken over so many (5)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (5)")
    parser.add_argument("--only", action="append", choices=PARTS, help="leave the rest out; may be repeated")
    parser.add_argument(
        "--notifications", type=int, default=20_000, help="that pass for the footprint (20000; try 200000)"
    )
    parser.add_argument(
        "--events",
        type=int,
        default=queue_rate.FEW_EVENTS,
        help="in the log when leasing and relaying are measured (50000)",
    )
    parser.add_argument(
        "--database",
        action="append",
        choices=("sqlite", "postgres"),
        help="for the queue; may be repeated (sqlite)",
    )
    parser.add_argument("--dir", type=Path, help="folder on the disk to measure (the system's temporary one)")
    parser.add_argument("--json", type=Path, help="also write every single figure to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
