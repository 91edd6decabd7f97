"""Makes the OpenAPI document (3.1) of the types that the API itself reads and writes by."""

import inspect
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import msgspec

from baludav.errors import REASONS
from sync_ext import problems
from sync_ext.endpoints import BASE, JSON, Endpoint
from sync_ext.problems import Problem

_SCHEMAS = "#/components/schemas/{name}"


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The document that describes these calls."""
    kinds = [Problem, *(kind for one in endpoints for kind in (one.query, one.body, one.answer) if _is_schema(kind))]
    _, schemas = msgspec.json.schema_components(kinds, ref_template=_SCHEMAS)
    for schema in schemas.values():
        if "description" in schema:
            schema["description"] = inspect.cleandoc(schema["description"])
    queries = {one.query: schemas.pop(one.query.__name__) for one in endpoints if one.query is not None}
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        query = {} if one.query is None else queries[one.query]
        paths.setdefault(BASE + one.template, {})[one.method.lower()] = _operation(one, query)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "baludav sync",
            "version": version("baludav"),
            "description": "What changed, per device. The bytes themselves go over WebDAV, at /dav.",
        },
        "security": [{"basic": []}, {"device": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "User name, and password, app password or the token of a device.",
                },
                "device": {"type": "http", "scheme": "bearer", "description": "The token of a device."},
            },
        },
    }


def _operation(one: Endpoint, query: dict[str, Any]) -> dict[str, Any]:
    summary, _, description = inspect.cleandoc(one.handle.__doc__ or "").partition("\n")
    room = one.handle.__module__.rpartition(".")[2]
    operation: dict[str, Any] = {
        "operationId": f"{room}_{one.handle.__name__}",
        "tags": [room],
        "summary": summary.rstrip("."),
        "responses": _responses(one),
    }
    if description.strip():
        operation["description"] = description.strip()
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in one.names]
    for name, schema in query.get("properties", {}).items():
        is_required = name in query.get("required", ())
        parameters.append({"name": name, "in": "query", "required": is_required, "schema": schema})
    if parameters:
        operation["parameters"] = parameters
    if one.body is not None:
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": _reference(one.body)}}}
    return operation


def _responses(one: Endpoint) -> dict[str, Any]:
    success: dict[str, Any] = {"description": REASONS[one.status]}
    if one.answer is not None:
        schema = _reference(one.answer) if one.media_type == JSON else {"type": "string"}
        success["content"] = {one.media_type: {"schema": schema}}
    kinds = [*problems.ANY, *one.failures]
    kinds += problems.CHANGING if one.changes else ()
    kinds += problems.WITH_BODY if one.body is not None else ()
    responses = {str(one.status): success}
    for status, failures in problems.by_status(kinds).items():
        responses[str(status)] = {
            "description": " ".join(map(problems.title_of, failures)),
            "content": {problems.MEDIA_TYPE: {"schema": _reference(Problem)}},
        }
    return responses


def _is_schema(kind: type | None) -> bool:
    return kind is not None and isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _reference(kind: type) -> dict[str, str]:
    return {"$ref": _SCHEMAS.format(name=kind.__name__)}
