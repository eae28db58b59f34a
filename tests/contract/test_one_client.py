"""All HTTP clients of the worker are created in one place, with limits and address checks."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_EXEMPT = ROOT / "worker/dev"  # embedded services and the demo, which call loopback only
_MODULES = (
    *("aiohttp", "atproto_identity", "ftplib", "http.client", "requests", "telnetlib"),
    *("urllib.request", "urllib3", "websockets", "xmlrpc.client"),
)
_METHODS = ("get", "post", "put", "patch", "delete", "head", "options", "request", "stream")
_NAMES = frozenset(
    {
        *(f"httpx.{name}" for name in _METHODS),
        *("httpx.Client", "httpx.AsyncClient", "httpx.HTTPTransport", "httpx.AsyncHTTPTransport"),
        *("httpcore.request", "httpcore.stream", "httpcore.SyncBackend"),
        *("httpcore.ConnectionPool", "httpcore.HTTPConnection", "httpcore.HTTPProxy"),
        *("httpcore.SOCKSProxy", "httpcore.AsyncConnectionPool", "httpcore.AsyncHTTPConnection"),
        *("atproto.Client", "atproto.AsyncClient", "atproto.Request", "atproto.AsyncRequest"),
        *("atproto.IdResolver", "atproto.AsyncIdResolver"),
        *("atproto_client.Client", "atproto_client.Request"),
        *("atproto_client.request.Request", "atproto_client.client.client.Client"),
        "socket.create_connection",
    }
)
_ALLOWED: Mapping[str, set[str]] = {
    "worker/core/net/client.py": {"httpcore.ConnectionPool", "httpx.Client", "httpx.HTTPTransport"},
    "worker/core/net/transports.py": {"httpcore.SyncBackend"},
    "worker/files/http.py": {"httpcore.ConnectionPool"},  # the media store, same network backend
    "worker/pds/client.py": {"atproto.Request"},  # with the transport of worker/core/net/client.py
}
_PLANTED = (
    "import httpx\nhttpx.get('https://a')",
    "import httpx as h\ndef f() -> None:\n    h.Client()",
    "from httpx import AsyncClient as C\nC()",
    "from functools import partial\nimport httpx\nopen = partial(httpx.Client)",
    "import httpx\nclass T(httpx.HTTPTransport):\n    pass",
    "import httpcore\nhttpcore.ConnectionPool()",
    "def f() -> None:\n    from urllib import request\n    request.urlopen('https://a')",
    "import urllib.request as u\nu.urlopen('https://a')",
    "from http.client import HTTPSConnection",
    "import requests",
    "import aiohttp.web",
    "from atproto import Client\nClient()",
    "from atproto_client.request import Request\nRequest()",
    "import socket\nsocket.create_connection(('a', 80))",
    "from httpx import *",
)


def sources() -> Iterator[Path]:
    """Yield the source files whose clients are checked."""
    for folder in ("worker", "tasks"):
        for path in (ROOT / folder).rglob("*.py"):
            if not path.is_relative_to(_EXEMPT):
                yield path


class _NoAnnotations(ast.NodeTransformer):
    """Removes annotations: to name the type of a client creates none."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(node.arg)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        return ast.Expr(node.value) if node.value else ast.Pass()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def clients_in(source: str) -> set[str]:
    """Return the clients that a module uses, by their names in their packages."""
    tree = _NoAnnotations().visit(ast.parse(source))
    names: dict[str, str] = {}
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {each.name for each in node.names}
            names |= {e.asname: e.name for e in node.names if e.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported |= {f"{node.module}.{each.name}" for each in node.names}
            names |= {e.asname or e.name: f"{node.module}.{e.name}" for e in node.names}
    used = {dotted(node, names) for node in ast.walk(tree)} & _NAMES
    wild = {name for name in imported if name.endswith(".*") and _is_client_package(name[:-2])}
    return used | wild | {name for name in imported if _is_forbidden_module(name)}


def dotted(node: ast.AST, names: Mapping[str, str]) -> str:
    """Return the full name of an expression such as `httpx.Client`, or an empty text."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    return ""


def _is_forbidden_module(name: str) -> bool:
    return any(f"{name}.".startswith(f"{module}.") for module in _MODULES)


def _is_client_package(name: str) -> bool:
    return any(client.startswith(f"{name}.") for client in _NAMES)


def test_clients_are_created_by_one_module() -> None:
    """Another client would have no deadline, no limit on size, and no check of addresses."""
    found = {
        str(path.relative_to(ROOT)): clients
        for path in sources()
        if (clients := clients_in(path.read_text()))
    }
    assert found == _ALLOWED


@pytest.mark.parametrize("source", _PLANTED)
def test_scan_finds_a_planted_client(source: str) -> None:
    """However it is imported, and wherever it is created."""
    assert clients_in(source)


def test_scan_accepts_types_and_errors() -> None:
    """Only what creates a client is refused."""
    source = """
import httpx
from atproto_client.request import Response
http: httpx.Client
def read(http: httpx.Client) -> httpx.Client | None:
    raise httpx.ReadError("x")
"""
    assert clients_in(source) == set()
