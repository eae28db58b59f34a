"""A name server on the loopback that knows the TXT records it is given."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset

_TTL = 60


@contextmanager
def serving(texts: Mapping[str, Sequence[str]]) -> Iterator[dns.resolver.Resolver]:
    """Answer questions over UDP until the block ends; return a resolver that asks there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0.1)
        over = threading.Event()
        thread = threading.Thread(target=_serve, args=(server, texts, over))
        thread.start()
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.getsockname()[1]
        try:
            yield resolver
        finally:
            over.set()
            thread.join()


def _serve(
    server: socket.socket, texts: Mapping[str, Sequence[str]], over: threading.Event
) -> None:
    while not over.is_set():
        try:
            question, address = server.recvfrom(4096)
        except TimeoutError:
            continue
        server.sendto(_answer(dns.message.from_wire(question), texts), address)


def _answer(query: dns.message.Message, texts: Mapping[str, Sequence[str]]) -> bytes:
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.RA
    name = query.question[0].name.to_text()
    known = texts.get(name.rstrip("."))
    if known is None:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    elif known:
        quoted = [f'"{text}"' for text in known]
        answer.answer.append(dns.rrset.from_text(name, _TTL, "IN", "TXT", *quoted))
    return answer.to_wire()
