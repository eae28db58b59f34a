"""The pages: what each is asked, and what it is made of."""

from __future__ import annotations

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
from worker.web.item import LOOK_UP, open_item, open_picture
from worker.web.snapshots import MetricsSnapshot, StatusSnapshot, StatusSnapshots, Unavailable
from worker.web.templates import Templates, Values, id_text, item_url

_PAGE = 50  # items
_LIST = 10.0  # seconds
_MAX_QUERY = 600  # characters of a text that is looked for
_ERRORS = (Status.FAILED, Status.PARTIAL, Status.PENDING)


@dataclass(frozen=True, slots=True)
class Pages:
    """The endpoints. Those that ask MongoDB raise StoreUnavailableError."""

    services: Services
    snapshots: StatusSnapshots
    figures: MetricsSnapshot
    templates: Templates
    forms: Forms

    def health(self, _request: Request) -> Response:
        """Say that the page is alive, whatever its services are."""
        return PlainTextResponse("ok\n")

    def metrics(self, _request: Request) -> Response:
        """Tell Prometheus how the platform stands."""
        return Response(self.figures.now().text(), media_type=CONTENT_TYPE_LATEST)

    def overview(self, _request: Request) -> Response:
        """Tell how all items stand."""
        snapshot = self.snapshots.overview()
        if isinstance(snapshot, Unavailable):
            return self._unavailable(snapshot)
        flow = snapshot.throughput
        plots = None if isinstance(flow, Unavailable) else (draw(flow.hour), draw(flow.day))
        values = {
            "snapshot": snapshot,
            "plots": plots,
            "statuses": list(Status),
            "errors": _ERRORS,
        }
        return self.templates.render("overview.html", values)

    def accounts(self, _request: Request) -> Response:
        """Tell which accounts cannot be used."""
        snapshot = self.snapshots.accounts()
        if isinstance(snapshot, Unavailable):
            return self._unavailable(snapshot)
        return self.templates.render("accounts.html", {"snapshot": snapshot})

    def failures(self, request: Request) -> Response:
        """List the reasons, or the items of one, a page at a time."""
        code = request.query_params.get("code", "")
        snapshot = self.snapshots.overview()  # for the counts, which take long
        if isinstance(snapshot, Unavailable):
            return self._unavailable(snapshot)
        if code:
            return self._list_failed(request, code, snapshot)
        codes = [code for code in snapshot.every.codes if snapshot.every.failed_with(code)]
        values = {"snapshot": snapshot, "codes": codes, "errors": _ERRORS}
        return self.templates.render("reasons.html", values)

    def _list_failed(self, request: Request, code: str, snapshot: StatusSnapshot) -> Response:
        numbers = {name: counts.failed_with(code) for name, counts in snapshot.types.items()}
        kind = _kind_of(request) or MEDIA_TYPES[max(numbers, key=lambda name: numbers[name])]
        place = _place(request)
        listed = Failures(self.services.database, self.services.store)
        with pymongo.timeout(_LIST):
            items = listed.page(kind, code, place, _PAGE + 1)
        values = {
            "code": code,
            "kind": kind,
            "numbers": numbers,
            "items": [(item, _format_id(item)) for item in items[:_PAGE]],
            "goes_on": place is not None,
            "next": _next(items),
            "advice": None if code == NO_CODE else help_for(code),
            "told": MESSAGES.get(request.query_params.get("told", "")),
            "at": now(),
        }
        return self._with_form(request, "failures.html", values)

    def item(self, request: Request) -> Response:
        """Tell all that is known of an item."""
        kind, ids = _item_of(request)
        page = open_item(self.services, kind, ids)
        if page is None:
            raise HTTPException(404, f"There is no {kind.name} of this id.")
        error = page.item.document.state.error
        values = {
            "page": page,
            "document": page.item.document,
            "id": id_text(page.item.document.ref.id),
            "advice": help_for(error.code) if error else None,
            "told": MESSAGES.get(request.query_params.get("told", "")),
            "at": now(),
        }
        return self._with_form(request, "item.html", values)

    def picture(self, request: Request) -> Response:
        """Return an item's picture, as nothing but an image."""
        kind, ids = _item_of(request)
        image = open_picture(self.services, kind, ids)
        if image is None:
            raise HTTPException(404, "There is no picture of this item.")
        # Should it be opened by itself, it can do nothing either.
        alone = {"Content-Security-Policy": "default-src 'none'; sandbox"}
        return Response(image.data, media_type=image.mime_type, headers=alone)

    def search(self, request: Request) -> Response:
        """Lead to the item that a text means, or list those that it may mean."""
        text = request.query_params.get("q", "").strip()[:_MAX_QUERY]
        kind = _kind_of(request)
        with pymongo.timeout(LOOK_UP):
            kinds = [kind] if kind else list(MEDIA_TYPES.values())
            found = Search(self.services.store, kinds).find(text) if text else []
        if len(found) == 1:
            return RedirectResponse(item_url(found[0]), 303)
        values = {"text": text, "found": found}
        return self.templates.render("found.html", values, 200 if found or not text else 404)

    async def retry(self, request: Request) -> Response:
        """Have an item, or all of a type and reason, tried again; then show what became of it."""
        form = await self.forms.read(request)
        try:
            wish = RetryRequest.of(form)
        except MediaError as error:
            raise FormRefusedError(error.message, 400) from error
        where = await run_in_threadpool(execute, self.services, wish)
        if where is None:
            raise HTTPException(404, f"There is no {wish.kind.name} of this id.")
        return RedirectResponse(where, 303)

    def _with_form(self, request: Request, name: str, values: Values) -> Response:
        let_in = self.forms.token_for(request)
        answer = self.templates.render(name, {**values, "token": let_in.token})
        let_in.put_on(answer, request)
        return answer

    def _unavailable(self, missing: Unavailable) -> Response:
        return self.templates.render("unavailable.html", {"missing": missing}, 503)


def _kind_of(request: Request) -> MediaType | None:
    """Return the type that an address names, None where it names none."""
    name = request.query_params.get("type", "")
    if name and name not in MEDIA_TYPES:
        raise HTTPException(404, "There is no such type.")
    return MEDIA_TYPES.get(name)


def _item_of(request: Request) -> tuple[MediaType, tuple[DocumentId, ...]]:
    kind = _kind_of(request)
    try:
        ids = parse_id(request.query_params.get("id", ""))
    except InvalidIdError:
        kind, ids = None, ()
    if kind is None:
        raise HTTPException(404, "An item is named by its type and its id: this is none.")
    return kind, ids


def _place(request: Request) -> PageCursor | None:
    """Return the place after which a list goes on: a status, and an id with its type."""
    status, _, name = request.query_params.get("after", "").partition(":")
    if not name:
        return None
    try:
        return PageCursor(Status(status), _id_in(name))
    except (ValueError, InvalidIdError):
        raise HTTPException(404, "There is no such page of the list.") from None


def _id_in(name: str) -> DocumentId:
    kind, _, text = name.partition(":")
    likeliest, *others = parse_id(text)
    return others[0] if kind == "number" and others else text if kind == "text" else likeliest


def _format_id(item: FailedItem) -> ItemRef | None:
    """Return a failed item as it can be asked for; None for an id that no message can name."""
    known = as_document_id(item.ref.id)
    return None if known is None else ItemRef(item.ref.type, known)


def _next(items: list[FailedItem]) -> str:
    """Return the place after a page's last item; empty on the last page."""
    named = [(item.status, ref.id) for item in items[:_PAGE] if (ref := _format_id(item))]
    if len(items) <= _PAGE or not named:
        return ""
    status, last = named[-1]
    kinds = {int: "number", str: "text"}
    return f"{status}:{kinds.get(type(last), 'id')}:{id_text(last)}"
