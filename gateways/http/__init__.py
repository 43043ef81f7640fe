"""The HTTP transport of all adapters: a total deadline, a bounded response, and certainty about what was sent.

It is a client for HTTP/1.1 on sockets, for small requests and responses. A call on a kept connection is one send and
usually one read. It repeats nothing and follows no redirect, and it uses no proxy. It works in threads and greenlets.

- ``client``: ``HttpClient``, the call. It knows the order of the steps and what each failure means.
- ``errors``: the translation of every foreign error into "not sent" or "unknown".
- ``deadlines``: the time limit of each call, and one sweep that ends the connections of overdue calls. No read or write
  has a timeout or a timer of its own.
- ``addresses``: name resolution and connecting, in bounded time.
- ``pool``: the slots for concurrent calls, and the idle connections.
- ``connection``: one TCP or TLS connection: send, receive, and whether it is still usable.
- ``request``: a request as bytes. ``response``: the end of a response (length, chunks, no body), read strictly.
  ``head``: a response's status line and header fields. These three do no I/O.
"""

from gateways.http.client import HttpClient
from gateways.http.head import Headers
from gateways.http.pool import IDLE_S_MAX
from gateways.http.response import RESPONSE_BYTES_MAX, Response

__all__ = ["IDLE_S_MAX", "RESPONSE_BYTES_MAX", "Headers", "HttpClient", "Response"]
