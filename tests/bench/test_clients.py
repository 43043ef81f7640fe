"""The bench distributes its connections evenly over the workers of a real gunicorn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from bench import machine, servers
from bench.clients import connect
from bench.load import Load
from bench.targets import Target
from bench.wire import deposit


def test_each_worker_gets_as_many_connections(tmp_path: Path) -> None:
    """Of nine connections one worker has five and the other four; both are ready first, and all get answers."""
    settings = Target(2, "postgresql://nowhere/none").settings()
    with servers.empty_resource(tmp_path, settings) as server:
        assert len(server.workers) == server.log.read_bytes().count(b'"message":"ready"') == 2
        connections = connect(server.address, 9, server.workers)
        held = machine.accepted(server.address[1], server.workers)
        kept = Counter(held[endpoint.getsockname()[1]] for endpoint in connections.sockets)
        assert sorted(kept.values()) == [4, 5]
        owners = [held[endpoint.getsockname()[1]] for endpoint in connections.sockets]
        assert owners == [server.workers[owner] for owner in connections.owners]
        assert 0.5 <= connections.busiest <= 1.0
        for endpoint in connections.sockets:
            endpoint.close()
        before = {pid: machine.cpu_s(pid) for pid in server.workers}
        requests = iter(lambda: deposit(server.host, "c-1"), b"")
        sample = Load(server.address, 8, [requests], workers=server.workers).run(0.3)
        assert not sample.failed
        assert sample.accepted
        assert all(machine.cpu_s(pid) > before[pid] for pid in server.workers)
        assert server.complaints() == []
