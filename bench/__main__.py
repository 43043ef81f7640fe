"""``python -m bench``: command line, order of the measurements, and their report.

The exit status is 1 if a request failed, an accepted deposit was not completed, or ``verify`` found a problem. The
measured speed does not affect it.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import psycopg

from bench import contention, machine, many, marks, memory, peers, relaying, report, scaling
from bench.brokers import BROKERS, Broker
from bench.facts import facts
from bench.measure import Measured, measure
from bench.profiling import ProfileError, profile
from bench.report import Extras, Outcome
from bench.search import CANDIDATES, best_connections
from bench.servers import CHECKOUT, ServerError
from bench.setups import COMPLETE, EMPTY, FIGURES, Conditions, figures_of
from bench.targets import SQLITE, Target, refusal, server_url

_RESULTS: Final = CHECKOUT / "bench" / "RESULTS.md"
_MANY: Final = CHECKOUT / "bench" / "SCALE.md"
_SCALING: Final = CHECKOUT / "docs" / "scaling.md"
_STORES: Final = ("sqlite", "postgresql", "both")
_CONFLICTS: Final = "conflicts"
_PEERS: Final = "peers"
_MEMORY: Final = "memory"
_RELAY: Final = "relay"
_OTHERS: Final = (_CONFLICTS, _RELAY, _PEERS, _MEMORY)
"""What is measured beside the figures."""


def main() -> int:
    """Measure or profile, according to the command line."""
    options = _options()
    # Ensures that every process, folder and database is cleaned up when this process is ended.
    signal.signal(signal.SIGTERM, lambda _signum, _frame: sys.exit(143))
    cores = machine.use_two_cores()
    targets = choose_targets(options.store, options.workers)
    if not targets:
        return 1
    try:
        if options.profile:
            conditions = _with_connections(_conditions(options, targets[0]), [options.profile])
            _say(profile(options.profile, conditions))
            return 0
        return _measure_many(options, targets, cores) if options.scale else _measure(options, targets, cores)
    except (ServerError, ProfileError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (OSError, psycopg.Error) as error:
        sys.stderr.write(f"a process under measurement ended, or does not answer: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def choose_targets(store: str, workers: int) -> list[Target]:
    """The usable targets. Prints the reason if PostgreSQL is not usable."""
    targets = [] if store == "postgresql" else [SQLITE]
    if store != "sqlite":
        url = server_url()
        if reason := refusal(url):
            sys.stderr.write(f"{reason}{': SQLite alone' if targets else ''}\n")
        else:
            targets.append(Target(workers, url))
    return targets


def _measure(options: argparse.Namespace, targets: Sequence[Target], cores: int) -> int:
    described = facts(cores, targets, (_RESULTS, _SCALING))
    brokers = _choose_brokers() if _RELAY in (options.only or _OTHERS) else []
    outcomes = [_measure_target(options, target, brokers) for target in targets]
    extras = _measure_extras(options, targets)
    wanted = marks.of_run(outcomes, extras)
    page = report.render(described, outcomes, extras, marks.render(wanted))
    _say(f"\n{page}")
    marks.say(wanted, _say)
    if options.only or options.store != "both":
        _say(f"{_RESULTS.relative_to(CHECKOUT)} is unchanged: not all figures were measured")
    else:
        _RESULTS.write_text(page, encoding="utf-8")
        _rewrite_scaling(described, outcomes)
    problems = [*report.problems(outcomes), *extras.problems]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


def _measure_many(options: argparse.Namespace, targets: Sequence[Target], cores: int) -> int:
    described = facts(cores, targets, (_MANY,))
    rows: list[many.Many] = []
    for target in targets:
        _say(target.name)
        conditions = _with_connections(_conditions(options, target), many.FIGURES)
        rows += many.many(conditions, max(1, options.rounds // 2), _say)
    wanted = marks.of_many(rows)
    page = report.render_many(described, rows, marks.render(wanted))
    _say(f"\n{page}")
    marks.say(wanted, _say)
    if options.store != "both":
        _say(f"{_MANY.relative_to(CHECKOUT)} is unchanged: not all stores were measured")
    else:
        _MANY.write_text(page, encoding="utf-8")
    problems = [problem for row in rows for problem in row.all_problems()]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    return 1 if problems else 0


def _measure_extras(options: argparse.Namespace, targets: Sequence[Target]) -> Extras:
    only, extras = options.only or _OTHERS, Extras()
    if _MEMORY in only and SQLITE in targets:
        _say("memory")
        extras.memory = memory.probe()
        _say(f"  {extras.memory.after / 1e6:,.0f} MB with {extras.memory.customers:,} customers")
    if _PEERS in only and any(target.server_url for target in targets):
        _say("hand-written service")
        if reason := peers.refusal(options.peers):
            _say(f"  not measured: {reason}")
        else:
            rounds = max(1, options.rounds // 2)
            extras.beside = peers.beside(options.peers, rounds, max(1, round(options.seconds)), _say)
    return extras


def _rewrite_scaling(described: Mapping[str, str], outcomes: Sequence[Outcome]) -> None:
    for outcome in outcomes:
        if costs := scaling.costs(outcome):
            figures = scaling.render(costs, described, disturbed=report.disturbed(outcomes))
            _SCALING.write_text(scaling.put(_SCALING.read_text(encoding="utf-8"), figures), encoding="utf-8")


def _choose_brokers() -> list[Broker]:
    """The brokers that answer. Prints the reason where one does not."""
    refusals = {broker.name: broker.refusal() for broker in BROKERS}
    for name, reason in refusals.items():
        if reason:
            _say(f"publishing to {name} is not measured: {reason}")
    return [broker for broker in BROKERS if not refusals[broker.name]]


def _measure_target(options: argparse.Namespace, target: Target, brokers: Sequence[Broker]) -> Outcome:
    _say(target.name)
    only = options.only or [*FIGURES[1:], *_OTHERS]
    figures = [figure for figure in figures_of(target)[1:] if figure in only]
    if figures:
        figures.insert(0, EMPTY)
    conflicts = target.server_url and _CONFLICTS in only
    conditions = _conditions(options, target)
    wanted = [*figures, *(contention.FIGURES if conflicts else ()), *([COMPLETE] if brokers else [])]
    conditions = _with_connections(conditions, list(dict.fromkeys(wanted)))
    outcome = Outcome(conditions, _rounds(conditions, figures, options.rounds))
    if conflicts:
        _say("conflicts")
        outcome.contention = contention.contention(conditions, max(1, options.rounds // 3), _say)
    if brokers:
        _say("relay")
        outcome.relaying = relaying.relaying(conditions, brokers, max(1, options.rounds // 2), _say)
    return outcome


def _rounds(conditions: Conditions, figures: Sequence[str], number: int) -> dict[str, list[Measured]]:
    rounds: dict[str, list[Measured]] = {figure: [] for figure in figures}
    for one in range(1, number + 1 if figures else 0):
        _say(f"round {one} of {number}")
        for figure in figures:
            rounds[figure].append(_measure_one(figure, conditions))
    if figures:
        rounds[EMPTY].append(_measure_one(EMPTY, conditions))
    return rounds


def _measure_one(figure: str, conditions: Conditions) -> Measured:
    measured = measure(figure, conditions)
    _say(
        f"  {figure:13} {measured.rate:7,.0f}/s {measured.cpu_us:6,.0f} us of CPU each,"
        f" others {measured.others_cpu:.2f} cores"
        + (f", {len(measured.problems)} problems" if measured.problems else "")
    )
    return measured


def _conditions(options: argparse.Namespace, target: Target) -> Conditions:
    return Conditions(
        target=target,
        seconds=options.seconds,
        warm_up_s=min(2.0, options.seconds),
        connections=dict.fromkeys(FIGURES, options.connections),
        customers=options.customers,
        unfinished_max=options.unfinished,
    )


def _with_connections(conditions: Conditions, figures: Sequence[str]) -> Conditions:
    """``conditions`` with the number of connections of each figure: the given one, or else the best one."""
    wanted = {figure: conditions.connections[figure] for figure in figures}
    if not all(wanted.values()):
        _say("searching for the best numbers of connections")
        wanted = best_connections(list(wanted), conditions, _say)
    return replace(conditions, connections=wanted)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure the speed of the service in proportion to an empty Falcon resource.",
    )
    parser.add_argument("--store", choices=_STORES, default="both", help="the stores to measure")
    parser.add_argument("--workers", type=int, default=2, help="workers of the service on PostgreSQL (default 2)")
    parser.add_argument("--rounds", type=int, default=4, help="measurements of each figure (default 4)")
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of one measurement (default 5)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=(*FIGURES[1:], *_OTHERS),
        help="measure only these figures, and those that they are compared with",
    )
    parser.add_argument(
        "--connections",
        type=int,
        default=0,
        help="number of clients; 0 (the default) searches for the best number of each server",
    )
    parser.add_argument("--customers", type=int, default=10_000, help="number of different customers (default 10000)")
    parser.add_argument(
        "--unfinished",
        type=int,
        default=256,
        help="maximum number of accepted deposits that are not completed (default 256)",
    )
    parser.add_argument(
        "--scale",
        action="store_true",
        help="measure on databases with many customers and events instead: several minutes, and 15 GB of disk",
    )
    parser.add_argument(
        "--peers",
        type=Path,
        default=peers.FOLDER,
        help="folder of the benchmark of other services, which is only read (default ../shared/peers)",
    )
    parser.add_argument(
        "--profile",
        choices=FIGURES,
        help="show where a worker spends its time (on the first store) instead of measuring",
    )
    options = parser.parse_args()
    if min(options.rounds, options.seconds, options.customers, options.workers) < 1:
        parser.error("--rounds, --seconds, --customers and --workers must be at least 1")
    if options.connections < 0 or options.unfinished < max(CANDIDATES) or options.unfinished < options.connections:
        parser.error(f"--unfinished must be at least {max(CANDIDATES)}, and at least --connections")
    return options


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
