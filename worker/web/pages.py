"""The endpoints of the status page."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pymongo
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from worker.core.clock import now
from worker.core.documents import DocumentId, ItemRef, Status
from worker.core.errors import MediaError
from worker.core.ids import InvalidIdError, as_document_id, parse_id
from worker.media import MEDIA_TYPES, MediaType
from worker.operations.error_help import help_for
from worker.operations.status import NO_CODE, FailedItem, Failures, PageCursor, Search
from worker.services import Services
from worker.web.charts import draw
from worker.web.forms import MESSAGES, FormRefusedError, Forms, RetryRequest, execute
from worker.web.item import LOOKUP_TIMEOUT, open_image, open_item
from worker.web.snapshots import StatusSnapshot, StatusSnapshots, Unavailable
from worker.web.templates import Templates, Values, item_url

_PAGE = 50  # items
_LIST_TIMEOUT = 10.0  # seconds
_MAX_QUERY = 600  # characters
_UNKNOWN = "There is no such page, or it does not accept this request."


@dataclass(frozen=True, slots=True)
class Pages:
    """The endpoints; `refused` and `failed` show the errors that the others raise."""

    services: Services
    snapshots: StatusSnapshots
    templates: Templates
    forms: Forms

    def health(self, _request: Request) -> Response:
        """Respond without calling MongoDB, Redis or a PDS."""
        return PlainTextResponse("ok\n")

    def metrics(self, _request: Request) -> Response:
        return Response(self.snapshots.metrics().text(), media_type=CONTENT_TYPE_LATEST)

    def overview(self, _request: Request) -> Response:
        snapshot = self.snapshots.overview()
        if isinstance(snapshot, Unavailable):
            return self._unavailable(snapshot)
        flow = snapshot.throughput
        plots = None if isinstance(flow, Unavailable) else (draw(flow.hour), draw(flow.day))
        return self.templates.render("overview.html", {"snapshot": snapshot, "plots": plots})

    def accounts(self, _request: Request) -> Response:
        snapshot = self.snapshots.accounts()
        if isinstance(snapshot, Unavailable):
            return self._unavailable(snapshot)
        return self.templates.render("accounts.html", {"snapshot": snapshot})

    def failures(self, request: Request) -> Response:
        """Show the error codes, or a page of the failed items with the code in the query."""
        code = request.query_params.get("code", "")
        snapshot = self.snapshots.overview()
        if isinstance(snapshot, Unavailable):
            return self._unavailable(snapshot)
        if code:
            return self._list_failed(request, code, snapshot)
        codes = [code for code in snapshot.every.codes if snapshot.every.failed_with(code)]
        return self.templates.render("reasons.html", {"snapshot": snapshot, "codes": codes})

    def _list_failed(self, request: Request, code: str, snapshot: StatusSnapshot) -> Response:
        numbers = {name: counts.failed_with(code) for name, counts in snapshot.types.items()}
        kind = _kind_of(request) or MEDIA_TYPES[max(numbers, key=lambda name: numbers[name])]
        cursor = _cursor_in(request)
        failures = Failures(self.services.storage.database, self.services.storage.store)
        with pymongo.timeout(_LIST_TIMEOUT):
            items = failures.page(kind, code, cursor, _PAGE + 1)
        values = {
            "code": code,
            "kind": kind,
            "numbers": numbers,
            "items": [(item, _ref_of(item)) for item in items[:_PAGE]],
            "goes_on": cursor is not None,
            "next": _cursor_after(items),
            "advice": None if code == NO_CODE else help_for(code),
        }
        return self._with_form(request, "failures.html", values)

    def item(self, request: Request) -> Response:
        kind, ids = _item_of(request)
        page = open_item(self.services, kind, ids)
        if page is None:
            raise HTTPException(404, f"There is no {kind.name} with this id.")
        document = page.item.document
        values = {"page": page, "document": document, "id": str(document.ref.id)}
        return self._with_form(request, "item.html", values)

    def picture(self, request: Request) -> Response:
        kind, ids = _item_of(request)
        image = open_image(self.services, kind, ids)
        if image is None:
            raise HTTPException(404, "This item has no published picture.")
        # Applies if a browser opens the image as a page.
        policy = {"Content-Security-Policy": "default-src 'none'; sandbox"}
        return Response(image.data, media_type=image.mime_type, headers=policy)

    def search(self, request: Request) -> Response:
        """Redirect to the only item that matches the query, or list all matches."""
        text = request.query_params.get("q", "").strip()[:_MAX_QUERY]
        kind = _kind_of(request)
        with pymongo.timeout(LOOKUP_TIMEOUT):
            kinds = [kind] if kind else list(MEDIA_TYPES.values())
            search = Search.of(self.services, kinds)
            found = search.find(text) if text else []
            is_unknown = bool(text) and not found
            tried = search.tried(text)
            unindexed = search.unindexed() if is_unknown else []
        if len(found) == 1:
            return RedirectResponse(item_url(found[0].ref), 303)
        values = {"text": text, "found": found, "tried": tried, "unindexed": unindexed}
        return self.templates.render("found.html", values, 200 if found or not text else 404)

    async def retry(self, request: Request) -> Response:
        """Retry the items named in a form, and redirect to the result page."""
        form = await self.forms.read(request)
        try:
            wanted = RetryRequest.of(form)
        except MediaError as error:
            raise FormRefusedError(error.message, 400) from error
        where = await run_in_threadpool(execute, self.services, wanted)
        if where is None:
            raise HTTPException(404, f"There is no {wanted.kind.name} with this id.")
        return RedirectResponse(where, 303)

    def refused(self, _request: Request, error: Exception) -> Response:
        """Render the error page of a refused request."""
        status, said = 500, ""
        if isinstance(error, HTTPException):
            status, said = error.status_code, error.detail
        # Our texts end with a period; Starlette's ("Not Found", "Method Not Allowed") do not.
        values = {"status": status, "said": said if said.endswith(".") else _UNKNOWN}
        return self.templates.render("refused.html", values, status)

    def failed(self, request: Request, error: Exception) -> Response:
        """Render the error of a service, with the duration of the request."""
        message = error.message if isinstance(error, MediaError) else ""
        return self._unavailable(Unavailable(message, time.monotonic() - request.scope["began"]))

    def _with_form(self, request: Request, name: str, values: Values) -> Response:
        """Render a page with a form, and the result of the previous form."""
        told = MESSAGES.get(request.query_params.get("told", ""))
        common = {**values, "told": told, "at": now()}
        return self.forms.respond(
            request, lambda token: self.templates.render(name, {**common, "token": token})
        )

    def _unavailable(self, missing: Unavailable) -> Response:
        return self.templates.render("unavailable.html", {"missing": missing}, 503)


def _kind_of(request: Request) -> MediaType | None:
    """Return the media type in the query, or None; raises HTTPException if unknown."""
    name = request.query_params.get("type", "")
    if name and name not in MEDIA_TYPES:
        raise HTTPException(404, "There is no such media type.")
    return MEDIA_TYPES.get(name)


def _item_of(request: Request) -> tuple[MediaType, tuple[DocumentId, ...]]:
    kind = _kind_of(request)
    try:
        ids = parse_id(request.query_params.get("id", ""))
    except InvalidIdError:
        ids = ()
    if kind is None or not ids:
        raise HTTPException(404, "The URL of an item needs a type and a valid id.")
    return kind, ids


def _cursor_in(request: Request) -> PageCursor | None:
    """Parse the query parameter `after`, `status:kind:id`; None for the first page."""
    status, _, name = request.query_params.get("after", "").partition(":")
    if not name:
        return None
    kind, _, text = name.partition(":")
    try:
        ids = {_kind_of_id(each): each for each in parse_id(text)}
        return PageCursor(Status(status), ids[kind])
    except (KeyError, ValueError, InvalidIdError):
        raise HTTPException(404, "The list has no such page.") from None


def _cursor_after(items: list[FailedItem]) -> str:
    """Format the cursor of the next page, or return "" if this is the last page."""
    if len(items) > _PAGE:
        for item in reversed(items[:_PAGE]):
            if ref := _ref_of(item):
                return f"{item.status}:{_kind_of_id(ref.id)}:{ref.id}"
    return ""


def _kind_of_id(document_id: DocumentId) -> str:
    # bson.Int64, for MongoDB's 64-bit numbers, is a subclass of int.
    if isinstance(document_id, int):
        return "number"
    return "text" if isinstance(document_id, str) else "id"


def _ref_of(item: FailedItem) -> ItemRef | None:
    """Return the reference of an item, or None if messages cannot contain its id."""
    known = as_document_id(item.ref.id)
    return None if known is None else ItemRef(item.ref.type, known)
