"""A process for test_greenlets.py in which everything is patched as in gunicorn's gevent worker."""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402 (the patches come first)
import ssl  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections import Counter  # noqa: E402
from functools import partial  # noqa: E402

import gevent  # noqa: E402

from domain.events import Kind  # noqa: E402
from domain.money import Money  # noqa: E402
from domain.outcomes import GatewayError  # noqa: E402
from gateways.http import HttpClient  # noqa: E402
from gateways.port import Gateway, Order  # noqa: E402
from tests.gateways.subjects import GATEWAY_A  # noqa: E402


def main(url: str, tls_url: str, drip_url: str, certificate: str, each: int) -> None:
    """Make ``each`` calls of every kind concurrently, and print their results and the total time."""
    gateway = GATEWAY_A.gateway(url, timeout_s=1.0, max_concurrent=1000)
    trust = ssl.create_default_context(cafile=certificate)
    secure = HttpClient("secure", tls_url, timeout_s=1.0, max_concurrent=100, tls=trust)

    drip = HttpClient("drip", drip_url, timeout_s=1.0, max_concurrent=100, tls=trust)

    def submit(minor: int, number: int, gateway: Gateway = gateway) -> str:
        try:
            return type(
                gateway.submit(Order(f"r-{minor}-{number}", Kind.DEPOSIT, Money(minor, "USD"), "1", {}))
            ).__name__
        except GatewayError as error:
            return type(error).__name__

    def call(client: HttpClient, number: int) -> str:
        try:
            return str(client.request("GET", f"/{number % 2}", {}).status)
        except GatewayError as error:
            return type(error).__name__

    started = time.monotonic()
    groups = {
        str(minor): [gevent.spawn(partial(submit, minor, number)) for number in range(each)] for minor in (1, 2, 3, 4)
    }
    groups |= {f"tls{path}": [gevent.spawn(partial(call, secure, path)) for _ in range(8)] for path in (0, 1)}
    groups |= {"handshake": [gevent.spawn(partial(call, drip, 0)) for _ in range(8)]}
    outcomes = {name: Counter(greenlet.get() for greenlet in group) for name, group in groups.items()}
    elapsed_s = time.monotonic() - started
    named = GATEWAY_A.gateway(url.replace("127.0.0.1", "localhost"))
    # The URL has a host name, so the system's resolver is called on gevent's threads.
    again = Counter(submit(1, each + number, named) for number in range(10))
    gateway.close()
    named.close()
    secure.close()
    drip.close()
    json.dump({"outcomes": outcomes, "again": again, "elapsed_s": elapsed_s}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
