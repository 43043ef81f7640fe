"""The API's own documentation: the OpenAPI document, and Swagger UI with all its assets from this origin."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import ClassVar, Final

import falcon
from swagger_ui_bundle import swagger_ui_path

from api.operations import OPEN, Answer, OpenToAll, Operation
from api.problems import INVALID_REQUEST, NOT_FOUND, ProblemError
from api.screening.query import refuse_query

INDEX: Final = "/swagger/index.html"

_ASSETS: Final[Mapping[str, str]] = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "index.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui-standalone-preset.js": "text/javascript; charset=utf-8",
    "favicon-16x16.png": "image/png",
    "favicon-32x32.png": "image/png",
}
_INITIALIZER: Final = "initializer.js"

_PAGE: Final = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Payment gateway service</title>
<link rel="stylesheet" href="swagger-ui.css">
<link rel="stylesheet" href="index.css">
<link rel="icon" type="image/png" href="favicon-32x32.png" sizes="32x32">
<link rel="icon" type="image/png" href="favicon-16x16.png" sizes="16x16">
</head>
<body>
<div id="swagger-ui"></div>
<script src="swagger-ui-bundle.js"></script>
<script src="swagger-ui-standalone-preset.js"></script>
<script src="initializer.js"></script>
</body>
</html>
"""
_SCRIPT: Final = b"""window.ui = SwaggerUIBundle({
  url: "../openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  displayRequestDuration: true,
  validatorUrl: null,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
  layout: "StandaloneLayout",
});
"""
# The page loads from and calls its own origin only. Swagger UI sets style attributes and has images in its styles.
_POLICY: Final = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"


@cache
def _content(asset: str) -> bytes:
    """Read a file once, on the first request for it."""
    data: bytes = (swagger_ui_path / asset).read_bytes()
    return data


class OpenApiResource:
    """``/openapi.json``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getOpenApi",
            scopes=OPEN,
            tag="Documentation",
            summary="Get the OpenAPI document",
            description="Returns this OpenAPI 3.0 document. It is generated from the schemas that validate requests.",
            answer=Answer(200, "The document."),
            problems=(INVALID_REQUEST,),
        )
    }

    def __init__(self) -> None:
        self.document = b""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get the OpenAPI document."""
        refuse_query(req)
        resp.data = self.document


class SwaggerPageResource:
    """``/swagger/index.html``."""

    operations: ClassVar[Mapping[str, Operation]] = {
        "get": Operation(
            operation_id="getSwaggerPage",
            scopes=OPEN,
            tag="Documentation",
            summary="Open Swagger UI",
            description="Returns a page that shows this document and can send requests.",
            answer=Answer(200, "The page.", media_type="text/html"),
            problems=(INVALID_REQUEST,),
        )
    }

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Get the page."""
        refuse_query(req)
        resp.content_type = "text/html; charset=utf-8"
        resp.set_header("content-security-policy", _POLICY)
        resp.data = _PAGE


class SwaggerAssetResource(OpenToAll):
    """``/swagger/{asset}``: the files that the page loads, and no other file of the bundle."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response, asset: str) -> None:
        """Get a script, a style or an icon."""
        if asset == _INITIALIZER:
            resp.content_type = "text/javascript; charset=utf-8"
            resp.data = _SCRIPT
            return
        media_type = _ASSETS.get(asset)
        if media_type is None:
            raise ProblemError(NOT_FOUND, "No such asset.")
        resp.content_type = media_type
        resp.set_header("cache-control", "public, max-age=3600")
        resp.data = _content(asset)


class ToSwaggerResource(OpenToAll):
    """Short paths that redirect to the page."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Redirect to the page."""
        resp.status = falcon.HTTP_302
        resp.set_header("location", INDEX)
