"""``python -m tests.simulation --seeds n --first k``: run seeds, print each violation and a summary."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.simulation.checker import violations
from tests.simulation.published import unpublishable
from tests.simulation.roles import shape_of
from tests.simulation.world import simulate


def main() -> int:
    """Run the seeds, and return exit status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="number of seeds to run")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument(
        "--roles", type=shape_of, help="roles of the processes, separated by commas; default: the seed chooses"
    )
    parser.add_argument("--history", type=Path, help="write the last seed's history to this file")
    arguments = parser.parse_args()
    events = broken = 0
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            history = simulate(seed, Path(folder), shape=arguments.roles)
        events += sum(len(dump["events"]) for dump in history.of("dump") if dump["when"] == "rest")
        found = [*violations(history), *unpublishable(history)]
        broken += len(found)
        for violation in found:
            _say(f"seed {seed}: {violation}")
        if found:
            chosen = f" --roles {','.join(arguments.roles)}" if arguments.roles else ""
            _say(f"replay: python -m tests.simulation --seeds 1 --first {seed}{chosen}")
        if arguments.history:
            arguments.history.write_bytes(history.to_bytes())
    _say(f"{arguments.seeds} seeds, {events} events, {broken} violations")
    return 1 if broken else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
