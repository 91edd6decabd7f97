"""The DAV methods, each family in a room of its own; each takes a Request and gives an Answer."""

from collections.abc import Callable

from providers.methods import collections, copymove, get, lock, options, patch, propfind, proppatch, put, report
from providers.request import Answer, Request

METHODS: dict[str, Callable[[Request], Answer]] = {
    "OPTIONS": options.handle,
    "GET": get.handle,
    "HEAD": get.handle,
    "PUT": put.handle,
    "PATCH": patch.handle,
    "POST": options.refuse,
    "DELETE": collections.delete,
    "MKCOL": collections.make,
    "COPY": copymove.copy,
    "MOVE": copymove.move,
    "PROPFIND": propfind.handle,
    "PROPPATCH": proppatch.handle,
    "LOCK": lock.lock,
    "UNLOCK": lock.unlock,
    "REPORT": report.handle,
}
