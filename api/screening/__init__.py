"""Screening of requests: well-formed addresses and headers, and no card numbers or secrets anywhere.

``envelope`` is middleware: one quick look at path, query and headers before routing. ``query`` and ``body`` name the
wrong fields once the route is known and the client is authenticated. A text that passes the quick look is not searched
again. ``sensitive_data`` defines what is refused, ``names`` how field names are repeated in an answer.
"""
