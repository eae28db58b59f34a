"""The string formats judged here: datetime and uri."""

from __future__ import annotations

import pytest

from worker.media.validation.data_model import is_datetime, is_uri

VALID_DATETIMES = {
    "milliseconds": "2024-02-29T23:59:59.123Z",
    "no fraction": "2024-02-29T23:59:59Z",
    "one digit of fraction": "2024-02-29T23:59:59.1Z",
    "microseconds": "2024-02-29T23:59:59.123456Z",
    "trailing zeros": "2024-02-29T23:59:59.120000Z",
    "14 digits of fraction": "2024-02-29T23:59:59.12345678901234Z",
    "64 characters": "2024-02-29T23:59:59." + "1" * 43 + "Z",
    "positive zero offset": "2024-02-29T23:59:59+00:00",
    "western offset": "2024-02-29T23:59:59.123-07:00",
    "offset with minutes": "2024-02-29T23:59:59+05:45",
    "furthest offsets": "2024-02-29T23:59:59-23:59",
    "midnight": "2024-01-01T00:00:00.000Z",
    "before 1970": "1812-06-24T05:00:00Z",
    "leap day of a 400th year": "2000-02-29T00:00:00Z",
    "year 1": "0001-01-01T00:00:00.000Z",
    "year 0": "0000-02-29T00:00:00.000Z",
    "year 9999": "9999-12-31T23:59:59.999Z",
}
INVALID_DATETIMES = {
    "empty": "",
    "a number": "1709251199",
    "words": "yesterday",
    "date only": "2024-02-29",
    "time only": "23:59:59.123Z",
    "no seconds": "2024-02-29T23:59Z",
    "no zone": "2024-02-29T23:59:59.123",
    "one-digit month": "2024-2-29T23:59:59Z",
    "one-digit day": "2024-02-9T23:59:59Z",
    "one-digit hour": "2024-02-29T3:59:59Z",
    "one-digit second": "2024-02-29T23:59:9Z",
    "three-digit day": "2024-02-029T23:59:59Z",
    "five-digit year": "12024-02-29T23:59:59Z",
    "three-digit year": "024-02-29T23:59:59Z",
    "signed year": "+2024-02-29T23:59:59Z",
    "year before 0": "-0001-02-28T23:59:59Z",
    "month 0": "2024-00-10T23:59:59Z",
    "month 13": "2024-13-10T23:59:59Z",
    "day 0": "2024-01-00T23:59:59Z",
    "day 32": "2024-01-32T23:59:59Z",
    "April 31st": "2024-04-31T23:59:59Z",
    "leap day of a common year": "2023-02-29T23:59:59Z",
    "leap day of a 100th year": "1900-02-29T23:59:59Z",
    "hour 24": "2024-02-29T24:00:00Z",
    "minute 60": "2024-02-29T23:60:00Z",
    "leap second": "2016-12-31T23:59:60Z",
    "second 61": "2016-12-31T23:59:61Z",
    "bare decimal point": "2024-02-29T23:59:59.Z",
    "decimal comma": "2024-02-29T23:59:59,123Z",
    "lower-case t": "2024-02-29t23:59:59Z",
    "lower-case z": "2024-02-29T23:59:59z",
    "space for T": "2024-02-29 23:59:59Z",
    "negative zero offset": "2024-02-29T23:59:59-00:00",
    "offset of hours only": "2024-02-29T23:59:59+07",
    "offset without colon": "2024-02-29T23:59:59+0700",
    "offset of 24 hours": "2024-02-29T23:59:59+24:00",
    "offset of 60 minutes": "2024-02-29T23:59:59+07:60",
    "bare sign": "2024-02-29T23:59:59+",
    "zone name": "2024-02-29T23:59:59 UTC",
    "leading space": " 2024-02-29T23:59:59Z",
    "trailing space": "2024-02-29T23:59:59Z ",
    "trailing line break": "2024-02-29T23:59:59Z\n",
    "dashes that are not hyphens": "2024\N{EN DASH}02\N{EN DASH}29T23:59:59Z",
    "digits that are not ASCII": "2024-02-29T23:59:5\N{ARABIC-INDIC DIGIT NINE}Z",
    "65 characters": "2024-02-29T23:59:59." + "1" * 44 + "Z",
}
VALID_URIS = {
    "https": "https://aesthetic.computer/media/paintings/a3b",
    "fragment": "https://aesthetic.computer/#a3b",
    "dollar": "https://aesthetic.computer/$cow",
    "query": "https://aesthetic.computer/?a=1&b=2#c?d/e",
    "port, user and brackets": "https://user:pw@[2001:db8::1]:8443/",
    "percent-encoded": "https://aesthetic.computer/media/%F0%9F%8E%A8%20.zip",
    "did": "did:plc:abc123",
    "at": "at://did:plc:abc123/computer.aesthetic.mood/3jzfcijpj2z2a",
    "dns": "dns:example.com",
    "scheme of one letter": "x:y",
    "scheme with digits and marks": "web+a-1.2:x",
    "8,192 bytes": "https://a/".ljust(8192, "x"),
}
INVALID_URIS = {
    "empty": "",
    "number": "123",
    "host only": "aesthetic.computer",
    "path": "/media/a3b",
    "no scheme": "//aesthetic.computer/",
    "empty scheme": "://aesthetic.computer/",
    "scheme that starts with a digit": "3d:model",
    "scheme with a letter that is not ASCII": "h\N{LATIN SMALL LETTER SHARP S}://a/",
    "scheme only": "https:",
    "scheme and slashes": "https://",
    "empty host": "https:///media",
    "space": "https://aesthetic.computer/a b",
    "leading space": " https://aesthetic.computer/",
    "trailing line break": "https://aesthetic.computer/\n",
    "tab": "https://aesthetic.computer/\t",
    "NUL": "https://aesthetic.computer/\0",
    "DEL": "https://aesthetic.computer/\x7f",
    "emoji": "https://aesthetic.computer/\N{ARTIST PALETTE}",
    "host that is not ASCII": "https://\N{LATIN SMALL LETTER E WITH ACUTE}.example/",
    "quotation mark": 'https://aesthetic.computer/"',
    "angle bracket": "https://aesthetic.computer/<script>",
    "backslash": "https://aesthetic.computer\\media",
    "brace": "https://aesthetic.computer/{code}",
    "percent sign alone": "https://aesthetic.computer/100%",
    "percent and no digits": "https://aesthetic.computer/%zz",
    "two fragments": "https://aesthetic.computer/#a#b",
    "8,193 bytes": "https://a/".ljust(8193, "x"),
}


DATETIMES = VALID_DATETIMES | INVALID_DATETIMES
URIS = VALID_URIS | INVALID_URIS


@pytest.mark.parametrize("name", DATETIMES)
def test_a_datetime_is_a_full_date_and_time_with_a_zone(name: str) -> None:
    """RFC 3339, ISO 8601 and HTML must all agree, and the day must exist."""
    assert is_datetime(DATETIMES[name]) is (name in VALID_DATETIMES)


@pytest.mark.parametrize("name", URIS)
def test_a_uri_has_a_scheme_with_something_after_it(name: str) -> None:
    """Any scheme will do, with or without a host, if all that is not ASCII is encoded."""
    assert is_uri(URIS[name]) is (name in VALID_URIS)
