"""The queue of RabbitMQ in a process whose threads are greenlets, as under gunicorn's gevent worker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.messaging.brokers import RABBITMQ_URL
from tests.messaging.rabbitmq_network import RabbitmqNetwork

PROGRAM: Final = """
from gevent import monkey
monkey.patch_all()
import json, socket, sys, gevent
from messaging.port import WorkHint
from messaging.rabbitmq_queue import RabbitmqQueue
from messaging.rabbitmq_topology import Names

ticks, hints = [], []

def tick():
    while True:
        ticks.append(len(hints))
        gevent.sleep(0.001)

def ended(queue):
    return not any(side._thread._thread.is_alive() for side in (queue._announcing, queue._consuming))

url, names = sys.argv[1], Names(*sys.argv[2:])
queue = RabbitmqQueue(url, names=names)
ticker = gevent.spawn(tick)
for number in range(2000):
    queue.announce(WorkHint(f"w-{number}", None, "gatewayA"))
while queue.announced < 2000:
    gevent.sleep(0.01)
queue.subscribe(["gatewayA", "gatewayB"], hints.append)
while len(set(hints)) < 2000:
    gevent.sleep(0.01)
ticker.kill()
burst = max(after - before for before, after in zip(ticks, ticks[1:]))
queue.close()

listener = socket.create_server(("127.0.0.1", 0), backlog=0)
waiting = []
for _ in range(2):
    waiting.append(socket.socket())
    waiting[-1].setblocking(False)
    waiting[-1].connect_ex(listener.getsockname())
silent = RabbitmqQueue("amqp://guest:guest@127.0.0.1:%d/" % listener.getsockname()[1])
silent.subscribe(["gatewayA"], hints.append)
silent.announce(WorkHint("w", None, "gatewayA"))
while not all(side._thread._link for side in (silent._announcing, silent._consuming)):
    gevent.sleep(0.01)
silent.close()
json.dump({"announced": queue.announced, "ended": [ended(queue), ended(silent)], "burst": burst}, sys.stdout)
"""


def test_it_cooperates_under_gevent(mq: RabbitmqNetwork) -> None:
    """Other greenlets run after some hints, and both greenlets end, also those that wait for a silent host."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, RABBITMQ_URL, *mq.names],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    for gateway in ("gatewayA", "gatewayB"):
        mq.channel.queue_delete(mq.names.queue(gateway))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["announced"], result["ended"]) == (2000, [True, True])
    assert result["burst"] <= 200
