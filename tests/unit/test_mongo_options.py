"""The options of MongoDB that the engine sets, whatever the connection string contains."""

from __future__ import annotations

from contextlib import closing

import pytest
from pymongo import ReadPreference
from pymongo.read_concern import ReadConcern

from worker.core.secrets import Secret
from worker.core.settings import MongoSettings
from worker.database.mongo import connect, overridden_options

UNSAFE = (
    "readPreference=secondaryPreferred&readPreferenceTags=dc:east&readConcernLevel=available",
    "readPreference=nearest&maxStalenessSeconds=120",
    "w=0&journal=false&retryWrites=false&retryReads=false",
    "w=1&wTimeoutMS=5",
    "READPREFERENCE=secondary&directConnection=true",
    "uuidRepresentation=standard&tz_aware=false",
    "fsync=true&unicode_decode_error_handler=strict&timeoutMS=1",
    "w=majority&W=0&readPreference=primary&READPREFERENCE=secondary",
    "w=0;retryWrites=false;readPreference=nearest",
)


@pytest.mark.filterwarnings("ignore:Duplicate URI option")
@pytest.mark.parametrize("options", ["", *UNSAFE])
def test_the_engine_reads_its_own_writes_whatever_the_url_says(options: str) -> None:
    """Reads are from the primary, and writes are acknowledged by a majority."""
    url = Secret(f"mongodb://one.example,two.example/?{options}")
    if "directConnection" in options:
        url = Secret(f"mongodb://one.example/?{options}")
    database = connect(MongoSettings(url, "aesthetic", 1.0))
    with closing(database.client) as client:
        documents = database["moods"]
        assert documents.read_preference == ReadPreference.PRIMARY
        assert documents.read_concern == ReadConcern("local")
        concern = documents.write_concern.document
        assert concern == {"w": "majority", "wtimeout": 0, "j": True, "fsync": False}
        assert documents.codec_options.tz_aware
        assert documents.codec_options.uuid_representation == 0
        assert documents.codec_options.unicode_decode_error_handler == "replace"
        assert client.options.retry_writes
        assert client.options.retry_reads
        assert not client.options.direct_connection
        assert client.options.timeout == 30


OVERRIDDEN = {
    "readPreference=secondary&W=majority&journal=true": ["readPreference"],
    "readPreferenceTags=dc:a&readPreferenceTags=&tls=true": ["readPreferenceTags"],
    "w=majority&W=0&replicaSet=rs0&authSource=admin": ["W"],
    "w=0;READPREFERENCE=nearest;appName=media-atproto": ["w", "READPREFERENCE"],
    "serverSelectionTimeoutMS=2000&directConnection=true&timeoutMS=30000": [
        "serverSelectionTimeoutMS",
        "directConnection",
    ],
}


@pytest.mark.parametrize(("options", "found"), OVERRIDDEN.items())
def test_options_of_the_url_that_have_no_effect_are_found(options: str, found: list[str]) -> None:
    """Those with the value that the engine sets, and those of the connection, are not."""
    url = Secret(f"mongodb://user:p%3Fw%3D0@one.example/?{options}")
    assert overridden_options(MongoSettings(url, "aesthetic", 1.0)) == found
