"""``python -m tests.mutants``: run every mutant; ``--check`` only compares table and checkout."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.mutating import (
    CAUGHT,
    CHECKOUT,
    PROMISES,
    SURVIVED,
    UNJUDGED,
    Mutant,
    Result,
    judge_all,
    problems,
    read_table,
)


def main() -> int:
    """Run or check mutants. Exit status 1: one survives or cannot be judged, or the table is outdated; 2: bad usage."""
    parser = argparse.ArgumentParser(prog="mutants", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only check that the table fits the checkout; run no test")
    parser.add_argument("--list", action="store_true", help="only list the mutants and what each breaks")
    parser.add_argument(
        "--only",
        default="",
        help="run only these mutants: names, parts of names, or files, separated by spaces or commas",
    )
    parser.add_argument("--jobs", type=int, default=2, help="number of mutants to run at a time")
    parser.add_argument("--report", type=Path, help="write the results to this file, in Markdown")
    arguments = parser.parse_args()
    mutants = read_table()
    if found := list(problems(mutants, CHECKOUT)):
        _say(*found)
        return 1
    if arguments.check:
        _say(f"{len(mutants)} mutants fit the checkout")
        return 0
    parts = arguments.only.replace(",", " ").split()
    chosen = [one for one in mutants if not parts or any(part in one.name or part in one.file for part in parts)]
    if not chosen:
        parser.error(f"no mutant matches {arguments.only!r}")
    if arguments.list:
        _say(*(f"{one.name:<40} {_numbers(one):<8} {one.breaks}" for one in chosen))
        return 0
    return _judge(chosen, arguments.jobs, arguments.report)


def _judge(mutants: Sequence[Mutant], jobs: int, report: Path | None) -> int:
    began, results = time.monotonic(), list[Result]()
    try:
        for result in judge_all(mutants, CHECKOUT, jobs):
            results.append(result)
            _say(f"{result.verdict:<10} {result.mutant.name:<40} {result.took_s:5.1f} s  {result.by[:200]}")
    except RuntimeError as error:
        _say(str(error))
        return 1
    summary = f"{len(results)} mutants: " + ", ".join(
        f"{sum(result.verdict == verdict for result in results)} {verdict}" for verdict in (CAUGHT, SURVIVED, UNJUDGED)
    )
    _say(f"{summary}; {time.monotonic() - began:.0f} s")
    if report is not None:
        report.write_text(markdown(results, summary), encoding="utf-8")
    return 0 if all(result.verdict == CAUGHT for result in results) else 1


def markdown(results: Sequence[Result], summary: str) -> str:
    """The results as a page: a table of the promises, then a table of the mutants."""
    lines = [
        "# Mutants",
        "",
        f"Made by `make mutants`. {summary}.",
        "",
        "| promise | mutants | caught |",
        "|---|---|---|",
    ]
    for number in PROMISES:
        guarding = [result for result in results if number in result.mutant.promises]
        lines.append(f"| {number} | {len(guarding)} | {sum(result.verdict == CAUGHT for result in guarding)} |")
    lines += [
        "",
        "| mutant | file | promises | without the line | result | first test to fail |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        one = result.mutant
        by = f"`{result.by}`".replace("|", "\\|")
        lines.append(f"| {one.name} | `{one.file}` | {_numbers(one)} | {one.breaks} | {result.verdict} | {by} |")
    return "\n".join(lines) + "\n"


def _numbers(mutant: Mutant) -> str:
    return ", ".join(map(str, mutant.promises))


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
