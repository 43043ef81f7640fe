"""``manage.py relay status``: the state of each relay, what is wrong with it, and which command to run."""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

from cli.client import Json
from cli.command import Exit, write
from cli.text import printable
from messaging.relay import RELAY_OF_EVENTS
from store.codec import timestamp
from store.event_json import position_on_wire
from store.port import Feed, RelayCheckpoint, StoredEvent
from store.relays import RelayDesk, RelayMove

_MOVES_SHOWN: Final = 10
_START_ONE: Final = "start a process of the role relay or all, with PAYMENTS_BROKER_URL"
_UNITS: Final = ((86_400, "days"), (3_600, "h"), (60, "min"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--lag-max",
        type=_seconds,
        metavar="SECONDS",
        help="end with status 1 when the oldest event that is not published is older",
    )


def run(desk: RelayDesk, arguments: argparse.Namespace) -> int:
    """Show all relays. Returns 1 when the events are not being published."""
    feed = desk.feed()
    found = [_document(desk, relay, feed, arguments.lag_max) for relay in desk.relays()]
    if arguments.json:
        write("".join(f"{json.dumps(it)}\n" for it in found))
    else:
        lines = [line for it in found for line in _lines(it)] or [f"no relay has started yet: {_START_ONE}"]
        write("".join(f"{printable(line)}\n" for line in lines))
    started = any(it["relay"] == RELAY_OF_EVENTS for it in found)
    return Exit.FAILED if not started or any(it["problems"] for it in found) else Exit.DONE


def _document(desk: RelayDesk, relay: RelayCheckpoint, feed: Feed, lag_max_s: float | None) -> Json:
    leads = {
        "relay": relay.name,
        "leader": relay.owner if relay.lease_left_s else None,
        "lease_left_s": round(relay.lease_left_s, 1),
    }
    if relay.name != RELAY_OF_EVENTS:  # the announcer, which publishes no events
        return {**leads, "problems": []}
    health = desk.health(relay.name)
    lag_s = None if health.lag_s is None else round(health.lag_s, 1)
    problems = {
        "without-leader": not relay.lease_left_s,
        "refused": relay.refusal is not None,
        "lag": lag_max_s is not None and lag_s is not None and lag_s > lag_max_s,
    }
    return {
        **leads,
        "generation": feed.generation,
        "position": position_on_wire(feed.generation, relay.position),
        "last_position": position_on_wire(feed.generation, feed.last),
        "lag_events": health.lag_events,
        "lag_s": lag_s,
        "refused": _refused(desk, relay, feed),
        "problems": [name for name, given in problems.items() if given],
        "moves": [_move(one, feed) for one in desk.moves(relay.name, _MOVES_SHOWN)],
    }


def _refused(desk: RelayDesk, relay: RelayCheckpoint, feed: Feed) -> Json | None:
    refusal = relay.refusal
    if refusal is None:
        return None
    event = desk.next_event(relay.position)
    return {
        "position": position_on_wire(feed.generation, refusal.position),
        "reason": refusal.reason,
        "age_s": round(refusal.age_s, 1),
        "event": None if event is None or event.position != refusal.position else _event(event),
    }


def _event(event: StoredEvent) -> Json:
    return {
        "event_id": event.event_id,
        "type": event.type,
        "stream_name": event.stream.name,
        "stream_id": event.stream.id,
        "version": event.version,
    }


def _move(it: RelayMove, feed: Feed) -> Json:
    return {
        "action": it.action.value,
        "from_position": position_on_wire(feed.generation, it.from_position),
        "to_position": position_on_wire(feed.generation, it.to_position),
        "who": it.who,
        "reason": it.reason,
        "at": timestamp(it.moved_at),
    }


def _lines(it: Json) -> list[str]:
    leader = it["leader"]
    led = f"led by {leader} for another {it['lease_left_s']:g} s" if leader else "without a leader"
    lines = [f"relay {it['relay']}: {led}"]
    if it["relay"] != RELAY_OF_EVENTS:
        return lines
    lines.append(
        f"  published up to position {it['position']}, the last one is {it['last_position']} (generation"
        f" {it['generation']})"
    )
    lines.append(f"  {_lag(it)}")
    lines += _problems(it)
    return lines + [
        f"  {one['at']} {one['action']} from {one['from_position']} to {one['to_position']} by {one['who']}:"
        f" {one['reason'] or 'no reason given'}"
        for one in it["moves"]
    ]


def _lag(it: Json) -> str:
    if not it["lag_events"]:
        return "every event is published"
    age = "its time cannot be read" if it["lag_s"] is None else f"{_duration(it['lag_s'])} old"
    return f"up to {it['lag_events']} events behind; the oldest that is not published: {age}"


def _problems(it: Json) -> list[str]:
    lines = []
    if "without-leader" in it["problems"]:
        lines.append(f"  nothing is published: {_START_ONE}")
    refused = it["refused"]
    if refused:
        lines += _refusal(refused)
    if "lag" in it["problems"]:
        lines.append("  the lag is above --lag-max")
    return lines


def _refusal(refused: dict[str, Any]) -> list[str]:
    position, event = refused["position"], refused["event"]
    lines = [f"  stays before position {position}, tried {_duration(refused['age_s'])} ago: {refused['reason']}"]
    if event:
        lines.append(
            f"    {event['type']}, event {event['event_id']}, version {event['version']} of"
            f" {event['stream_name']}/{event['stream_id']}"
        )
    return [
        *lines,
        "    it is tried again by itself. To leave it out, after you have told the consumers:",
        f"    manage.py relay skip {position} --reason …",
    ]


def _duration(seconds: float) -> str:
    """Rounded to one unit, the largest of which there are two."""
    for size, unit in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:g} s"


def _seconds(text: str) -> float:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"not a whole number of seconds: {text!a}")
    return float(text)
