"""The service described: to programs as OpenAPI with real examples, to people as a page that tries a model."""

import base64
import re
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from ..datasets.columns import Input
from ..datasets.ranges import in_words
from .served_version import ServedVersion

TYPES = {
    "number": {"type": "number"},
    "text": {"type": "string"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date-time"},
    "file": {"type": "string", "contentEncoding": "base64"},
    "list of numbers": {"type": "array", "items": {"type": ["number", "null"]}},
}
REFUSALS = {
    "401": "the key is missing or wrong (X-API-Key)",
    "404": "there is no such model",
    "408": "the request did not arrive in time",
    "413": "the body is too large",
    "422": "a row does not fit: the text names the column",
    "503": "no champion yet, or busy: try again after Retry-After",
}
DETAIL = {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]}
PREDICT = "/models/{name}/predict"


def document(service: FastAPI) -> dict[str, Any]:
    """Return the document of the service with the models that serve now."""
    found = get_openapi(title=service.title, version=service.version, routes=service.routes)
    for name in service.state.models.names:
        champion = service.state.models.champions.get(name)
        found["paths"][PREDICT.format(name=name)] = {"post": _operation(name, champion)}
    return found


@cache
def page() -> tuple[str, dict[str, str]]:
    """Return the page, which knows no model but asks for the document, and headers that let it load nothing else."""
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    allowed = {}
    for kind in ("script", "style"):
        [content] = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        allowed[kind] = base64.b64encode(sha256(content.encode()).digest()).decode()
    policy = "; ".join(f"{kind}-src 'sha256-{digest}'" for kind, digest in allowed.items())
    rest = "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    return text, {"Content-Security-Policy": f"{rest}; {policy}", "X-Content-Type-Options": "nosniff"}


def _operation(name: str, champion: ServedVersion | None) -> dict[str, Any]:
    """Return what is asked of a model, and what it answers."""
    refusals = {code: _content(DETAIL, why) for code, why in REFUSALS.items()}
    row, asked, answered = {"type": "object"}, {}, {}
    if champion:
        signature = champion.version.signature
        columns = {column.name: _column(column) for column in signature.inputs}
        required = [column.name for column in signature.inputs if not column.optional]
        row |= {"properties": columns, "required": required}
        asked = {"rows": signature.examples[:1]}
        answered = {"model": name, "version": champion.number, "predictions": signature.predictions[:1], "warnings": []}
    body = {"type": "object", "properties": {"rows": {"type": "array", "items": row}}, "required": ["rows"]}
    rows, texts = {"type": "array", "items": {"type": "object"}}, {"type": "array", "items": {"type": "string"}}
    parts = {"model": {"type": "string"}, "version": {"type": "string"}, "predictions": rows, "warnings": texts}
    answer = {"type": "object", "properties": parts | {"prediction_ids": texts}, "required": list(parts)}
    return {
        "summary": f"Predict rows by {name}",
        "operationId": f"predict_{name}",
        "requestBody": {"required": True} | _content(body, "", asked),
        "responses": {"200": _content(answer, "a prediction for each row", answered)} | refusals,
    }


def _content(schema: dict[str, Any], description: str, example: dict[str, Any] | None = None) -> dict[str, Any]:
    found = {"schema": schema} | ({"example": example} if example else {})
    return ({"description": description} if description else {}) | {"content": {"application/json": found}}


def _column(column: Input) -> dict[str, Any]:
    """Return the schema of a column of a row."""
    found = dict(TYPES.get(column.kind, {}))
    if column.nullable and "type" in found:
        found["type"] = [found["type"], "null"]
    checks = "; ".join(in_words(name, arguments) for name, arguments in column.checks.items())
    return found | ({"description": f"should be {checks}"} if checks else {})
