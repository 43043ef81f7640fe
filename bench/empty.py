"""The reference: the cost of a Falcon resource that only reads a JSON body and answers with a small one.

Run as ``gunicorn --config bench/empty_gunicorn.py``.
"""

from __future__ import annotations

import falcon


class EmptyResource:
    """A plain Falcon resource."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Read the body, and answer 202."""
        command = req.get_media()
        resp.status = falcon.HTTP_202
        resp.media = {"transaction_id": "0", "status": "pending", "customer_id": command["customer_id"]}


app: falcon.App[falcon.Request, falcon.Response] = falcon.App()
app.add_route("/v1/deposit", EmptyResource())
