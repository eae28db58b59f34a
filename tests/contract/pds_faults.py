"""Bad answers of a PDS, or of a proxy before it, which leave open what was carried out."""

from __future__ import annotations

from tests.contract.proxy import Reply

SLOW_DOWN = Reply(429, b'{"error":"RateLimitExceeded"}', headers={"Retry-After": "3600"})
FAULTS = {
    "500": Reply(500, b'{"error":"InternalServerError"}'),
    "502 of a proxy": Reply(502, b"<html>Bad Gateway</html>", "text/html"),
    "truncated JSON": Reply(200, b'{"uri":"at://did'),
    "a cut connection": Reply(200, b'{"uri":"at', cut=True),
    "HTML": Reply(200, b"<html>Welcome</html>", "text/html"),
}

PAGES = {
    status: Reply(status, b"<!doctype html><title>Blocked</title>", "text/html")
    for status in (403, 413, 503)
}
