"""What a web server can do instead of answering with the file."""

from __future__ import annotations

from tests.contract.web_server import Fault, Handler


def redirect(to: Handler) -> None:
    """Send the client elsewhere."""
    to.answer(302, headers={"Location": "https://elsewhere.example/?token=secret"})


def drip_body(to: Handler) -> None:
    """Announce a body and send it byte by byte."""
    to.answer(200, headers={"Content-Length": "1000"})
    to.drip(b"x" * 1000)


def drip_headers(to: Handler) -> None:
    """Send the headers byte by byte."""
    to.drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000 + b"\r\nContent-Length: 0\r\n\r\n")


def say_nothing(to: Handler) -> None:
    """Never answer."""
    to.server.over.wait()
    to.hang_up()


def cut_body(to: Handler) -> None:
    """Announce more than is sent."""
    to.answer(200, b"x" * 10, {"Content-Length": "1000"})
    to.hang_up()


def cut_chunks(to: Handler) -> None:
    """Break off between two chunks."""
    to.answer(200, b"5\r\nhello\r\n", {"Content-Length": "", "Transfer-Encoding": "chunked"})
    to.hang_up()


def hang_up(to: Handler) -> None:
    """Close the connection instead of answering."""
    to.hang_up()


def garble(to: Handler) -> None:
    """Answer in another protocol."""
    to.wfile.write(b"SSH-2.0-OpenSSH_9.2 token=secret\r\n")
    to.hang_up()


def flood(to: Handler) -> None:
    """Send chunks for as long as anyone reads."""
    to.answer(200, headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    while not to.server.over.is_set():
        to.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def announce_gigabytes(to: Handler) -> None:
    """Announce more than anyone wants, and send none of it."""
    to.answer(200, headers={"Content-Length": str(10**12)})
    to.server.over.wait()
    to.hang_up()


def compress(to: Handler) -> None:
    """Send an encoding that nobody asked for."""
    to.answer(200, b"\x1f\x8b", {"Content-Encoding": "gzip"})


def typed(content_type: str) -> Fault:
    """Send something of this type."""
    return lambda to: to.answer(200, b"<html>", {"Content-Type": content_type, "ETag": '"1"'})


def status(number: int) -> Fault:
    """Answer with a status alone."""
    return lambda to: to.answer(number)


def bare(to: Handler) -> None:
    """Send a file without anything that names its version."""
    to.answer(200, b"bare")


def dated(to: Handler) -> None:
    """Send a file with its date only, and without its size to GET."""
    date = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    if to.command == "HEAD":
        to.answer(200, b"dated", date)
    else:
        body = b"5\r\ndated\r\n0\r\n\r\n"
        to.answer(200, body, date | {"Content-Length": "", "Transfer-Encoding": "chunked"})


def no_head(number: int) -> Fault:
    """Answer to HEAD that the method is unknown."""
    return lambda to: to.answer(number) if to.command == "HEAD" else to.send_stored()
