"""The transport in greenlets, with hundreds of concurrent calls: each keeps its deadline, and none delays another."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from pathlib import Path

from tests.gateways.peer import Dripper, Exchange, Peer, answers, drips, resets, sends_nothing
from tests.gateways.subjects import GATEWAY_A

CHECKOUT = Path(__file__).parents[2]
TLS = Path(__file__).parent / "tls"
EACH = 75
SUCCESS = answers(200, GATEWAY_A.response_body("success", None, "A-1"))
DRIP = drips(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n" + b"x" * 600)


def by_amount(exchange: Exchange) -> None:
    """Amount 0.01 succeeds, 0.02 gets no answer, 0.03 gets one byte at a time, 0.04 is reset."""
    amount = json.loads(exchange.request.body)["amount"]
    {"0.01": SUCCESS, "0.02": sends_nothing, "0.03": DRIP, "0.04": resets}[amount](exchange)


def by_path(exchange: Exchange) -> None:
    """Path /0 is answered, /1 gets its answer one byte at a time."""
    {"/0": SUCCESS, "/1": DRIP}[exchange.request.path](exchange)


def test_hundreds_of_calls_in_greenlets() -> None:
    """300 calls and 24 over TLS, of which three in four fail, all end soon after the deadline of 1 s."""
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    peer, tls_peer = Peer(by_amount), Peer(by_path, server_tls)
    dripper = Dripper(b"\x16\x03\x03\x40\x00" + b"x" * 600)  # the beginning of a TLS handshake
    try:
        command = [sys.executable, "-m", "tests.gateways.greenlets"]
        arguments = [
            peer.url,
            tls_peer.url,
            f"https://127.0.0.1:{dripper.port}",
            str(TLS / "certificate.pem"),
            str(EACH),
        ]
        ended = subprocess.run([*command, *arguments], cwd=CHECKOUT, capture_output=True, timeout=60, check=True)
    finally:
        peer.close()
        tls_peer.close()
        dripper.close()
    counts = json.loads(ended.stdout)
    assert counts["outcomes"] == {
        "1": {"Approved": EACH},
        "2": {"OutcomeUnknownError": EACH},
        "3": {"OutcomeUnknownError": EACH},
        "4": {"OutcomeUnknownError": EACH},
        "tls0": {"200": 8},
        "tls1": {"OutcomeUnknownError": 8},
        "handshake": {"NotSentError": 8},
    }
    assert counts["again"] == {"Approved": 10}
    assert counts["elapsed_s"] < 10  # the peers would take 30 s
    assert not ended.stderr
    assert len(peer.requests) == 4 * EACH + 10
