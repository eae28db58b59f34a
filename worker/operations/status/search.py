"""Search for items by what an operator has at hand: an id, a key, a name or an address."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from string import Formatter
from urllib.parse import unquote

from worker.core.documents import ItemRef
from worker.core.ids import as_document_id, candidate_ids
from worker.core.records import RecordKey, is_record_uri
from worker.database.accounts import Accounts
from worker.database.backlog import LOOKUP_FIELDS
from worker.database.indexes import list_lookup_indexes
from worker.database.mongo import RawDocument, mongo_errors
from worker.database.store import DocumentStore
from worker.media import MediaType, SiteUrls
from worker.services import Services

_MAX_RESULTS = 20
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_ID, _RKEY, _URI, _ADDRESS = "id", "record key", "at:// URI", "address"
_RKEY_FIELD = "atproto.rkey"
# Names in a URL template by the values that they match. A slug may be a path.
_VALUES = {"code": "[^/?#]+", "handle": "[^/?#]+", "slug": ".+"}
# The address of an item on the site, in addition to the URLs in its record.
_PAGE = "{{site}}/@{{handle}}/{name}/{{slug}}"


@dataclass(frozen=True, slots=True)
class Match:
    """An item that a search found, its owner's subject, and what matched."""

    ref: ItemRef
    owner: str
    matched: str


@dataclass(frozen=True, slots=True)
class Search:
    """Finds items of the media types `kinds`, using indexes only.

    An item is found by its id, by the key or the at:// URI of its record, by its code or slug, and
    by a URL in its record. The authority of an at:// URI may be a DID, the handle of an account, or
    a screen name. Instead of a URL, its end is enough: `$code`, `#code`, `@handle/slug`. Methods
    raise StoreUnavailableError.
    """

    store: DocumentStore
    accounts: Accounts
    site: SiteUrls
    kinds: Sequence[MediaType]

    @classmethod
    def of(cls, services: Services, kinds: Sequence[MediaType]) -> Search:
        storage = services.storage
        return cls(storage.store, storage.accounts, services.media.site, kinds)

    def find(self, text: str) -> list[Match]:
        """Return up to 20 distinct items. If an id matches, other matches are left out."""
        if text.startswith("at://"):
            found = list(self._by_uri(text))
        elif not candidate_ids(text):
            return []  # not a valid text, or too long
        else:
            found = list(self._by_id(text)) or list(self._by_name(text))
        first: dict[ItemRef, Match] = {}
        for match in found:
            first.setdefault(match.ref, match)
        return list(first.values())[:_MAX_RESULTS]

    def tried(self, text: str) -> list[str]:
        """Return what `find` compares with a text."""
        if text.startswith("at://"):
            return [_URI]
        names = [name for name in LOOKUP_FIELDS if any(name in kind.fields for kind in self.kinds)]
        return [_ID, _RKEY, *names, _ADDRESS]

    def unindexed(self) -> list[str]:
        """Return the fields that are not searched, because their index is missing."""
        return [
            f"{kind.collection}.{name}"
            for kind in self.kinds
            for name in _searched_fields(kind)
            if name not in self._indexes(kind)
        ]

    def _by_uri(self, uri: str) -> Iterator[Match]:
        if not is_record_uri(uri):
            return
        key = RecordKey.parse(uri)
        kind = next((each for each in self.kinds if each.nsid == key.collection), None)
        did = self._did_of(key.repo)
        document = self.store.find_by_record(kind, did, key.rkey) if kind and did else None
        if document:
            yield Match(document.ref, document.owner, _URI)

    def _did_of(self, repo: str) -> str | None:
        """Return the DID in an at:// URI, or that of the handle in it; None if unknown."""
        if repo.startswith("did:"):
            return repo
        account = self.accounts.named(repo.lower())
        return account.did if account else None

    def _by_id(self, text: str) -> Iterator[Match]:
        for kind in self.kinds:
            if document := self.store.find(kind, candidate_ids(text)):
                yield Match(document.ref, document.owner, _ID)

    def _by_name(self, text: str) -> Iterator[Match]:
        for kind in self.kinds:
            indexes = self._indexes(kind)
            for name in _searched_fields(kind):
                matched = _RKEY if name == _RKEY_FIELD else name
                yield from self._find(kind, indexes, {name: text}, matched)
            for values in self._parse_address(kind, text):
                if match := self._match_address(kind, values):
                    yield from self._find(kind, indexes, match, _ADDRESS)

    def _parse_address(self, kind: MediaType, text: str) -> Iterator[Mapping[str, str]]:
        """Yield the values in a URL, or in the end of a URL, for each template that it matches."""
        address = _SCHEME.sub("", text)
        site = _SCHEME.sub("", self.site.url)
        page = (_PAGE.format(name=kind.name),) if "slug" in kind.fields else ()
        for template in dict.fromkeys((*kind.url_templates(self.site), *page)):
            for each in (address, f"{site}/{address}"):
                if found := _pattern(_SCHEME.sub("", template), site).fullmatch(each):
                    yield {name: unquote(value) for name, value in found.groupdict().items()}

    def _match_address(self, kind: MediaType, values: Mapping[str, str]) -> RawDocument | None:
        """Return a query for the code or else the slug of an address, and for its owner."""
        name = next((name for name in LOOKUP_FIELDS if name in values), None)
        if name is None or name not in kind.fields:
            return None
        match: RawDocument = {name: values[name]}
        if handle := values.get("handle"):
            account = self.accounts.named(handle)
            if account is None:
                return None
            match["user"] = account.subject
        return match

    def _indexes(self, kind: MediaType) -> Mapping[str, str]:
        with mongo_errors():
            return list_lookup_indexes(self.store.collection(kind))

    def _find(
        self, kind: MediaType, indexes: Mapping[str, str], match: RawDocument, matched: str
    ) -> Iterator[Match]:
        """Find the items that match, by the index on the first field of `match`.

        Finds none if the index is missing: the whole collection would be read.
        """
        index = indexes.get(next(iter(match)))
        if index is None:
            return
        with mongo_errors():
            found = self.store.collection(kind).find(match, {"user": 1}).hint(index)
            raws = list(found.limit(_MAX_RESULTS))
        for raw in raws:
            if as_document_id(raw["_id"]) is not None:
                item = self.store.to_owned_item(kind, raw)
                yield Match(item.ref, item.owner, matched)


def _searched_fields(kind: MediaType) -> list[str]:
    return [_RKEY_FIELD, *(name for name in LOOKUP_FIELDS if name in kind.fields)]


@cache
def _pattern(template: str, site: str) -> re.Pattern[str]:
    """Return a pattern for the URLs of a template, which has a group for each name."""
    pattern, names = "", set[str]()
    for literal, name, _, _ in Formatter().parse(template):
        pattern += re.escape(literal)
        if name == "site":
            pattern += f"(?i:{re.escape(site)})"
        elif name is not None and name in _VALUES:
            pattern += f"(?P={name})" if name in names else f"(?P<{name}>{_VALUES[name]})"
            names.add(name)
        elif name is not None:
            pattern += "[^/?#]*"
    return re.compile(pattern)
