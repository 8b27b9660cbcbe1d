"""The served description of the API: OpenAPI as the framework makes it, with HEAD beside GET."""

from typing import Any

from litestar import Request
from litestar.openapi.plugins import JsonRenderPlugin


class Description(JsonRenderPlugin):
    """Describes HEAD as well, which the guard turns into GET before the framework sees it."""

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Return the description as JSON."""
        paths = {path: _with_head(ways) for path, ways in openapi_schema["paths"].items()}
        return super().render(request, {**openapi_schema, "paths": paths})


def _with_head(ways: dict[str, Any]) -> dict[str, Any]:
    get = ways.get("get")
    return ways if get is None else {**ways, "head": _head_of(get)}


def _head_of(get: dict[str, Any]) -> dict[str, Any]:
    responses = {
        status: {name: value for name, value in response.items() if name != "content"}
        for status, response in get["responses"].items()
    }
    name = f"{get['operationId']}Head"
    return {**get, "operationId": name, "responses": responses}
