"""The pages: what each is asked, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pymongo
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from worker.advice import advice_for
from worker.clock import now
from worker.documents import DocumentId, Status
from worker.errors import MediaError
from worker.ids import InvalidIdError, known_id, parse_id
from worker.media import MEDIA_TYPES, MediaType
from worker.overview import NO_CODE, Counts, FailedItem, Failures, Overview, Place, Search
from worker.services import Services
from worker.web.boxes import Missing
from worker.web.figures import Figures
from worker.web.forms import FormRefusedError, Forms
from worker.web.item import LOOK_UP, open_item, open_picture
from worker.web.picture import Pictures
from worker.web.plot import draw
from worker.web.rendering import Templates, Values, id_text, item_url
from worker.web.retrying import TOLD, Wish, carried_out

_PAGE = 50  # items
_COUNT = 20.0  # seconds
_LONGEST_QUERY = 600  # characters of a text that is looked for
_ERRORS = (Status.FAILED, Status.PARTIAL, Status.PENDING)


@dataclass(frozen=True, slots=True)
class Pages:
    """The endpoints. Those that ask MongoDB raise StoreUnavailableError."""

    services: Services
    pictures: Pictures
    figures: Figures
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
        picture = self.pictures.overview()
        if isinstance(picture, Missing):
            return self._unavailable(picture)
        flow = picture.throughput
        plots = None if isinstance(flow, Missing) else (draw(flow.hour), draw(flow.day))
        values = {
            "picture": picture,
            "plots": plots,
            "statuses": list(Status),
            "errors": _ERRORS,
        }
        return self.templates.answer("overview.html", values)

    def accounts(self, _request: Request) -> Response:
        """Tell which accounts cannot be used."""
        picture = self.pictures.accounts()
        if isinstance(picture, Missing):
            return self._unavailable(picture)
        return self.templates.answer("accounts.html", {"picture": picture})

    def failures(self, request: Request) -> Response:
        """List the failed items of a reason, a page at a time."""
        code = request.query_params.get("code", "")
        with pymongo.timeout(_COUNT):
            overview = Overview(self.services.database, self.services.store)
            counts = {name: overview.errors(kind) for name, kind in MEDIA_TYPES.items()}
            if not code:
                return self._reasons(counts)
            numbers = {name: each.failed_with(code) for name, each in counts.items()}
            kind = _kind_of(request) or MEDIA_TYPES[max(numbers, key=lambda name: numbers[name])]
            listed = Failures(self.services.database, self.services.store)
            items = listed.page(kind, code, _place(request), _PAGE + 1)
        values = {
            "code": code,
            "kind": kind,
            "numbers": numbers,
            "items": [(item, known_id(item.ref.id) is not None) for item in items[:_PAGE]],
            "next": _next(items),
            "advice": None if code == NO_CODE else advice_for(code),
            "told": TOLD.get(request.query_params.get("told", "")),
            "at": now(),
        }
        return self._with_form(request, "failures.html", values)

    def _reasons(self, counts: Mapping[str, Counts]) -> Response:
        every = Counts.sum(counts.values())
        codes = [code for code in every.codes if every.failed_with(code)]
        values = {"every": every, "codes": codes, "errors": _ERRORS, "at": now()}
        return self.templates.answer("reasons.html", values)

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
            "advice": advice_for(error.code) if error else None,
            "told": TOLD.get(request.query_params.get("told", "")),
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
        text = request.query_params.get("q", "").strip()[:_LONGEST_QUERY]
        kind = _kind_of(request)
        with pymongo.timeout(LOOK_UP):
            kinds = [kind] if kind else list(MEDIA_TYPES.values())
            found = Search(self.services.store, kinds).find(text) if text else []
        if len(found) == 1:
            return RedirectResponse(item_url(found[0]), 303)
        values = {"text": text, "found": found}
        return self.templates.answer("found.html", values, 200 if found or not text else 404)

    async def retry(self, request: Request) -> Response:
        """Have an item, or all of a type and reason, tried again; then show what became of it."""
        form = await self.forms.read(request)
        try:
            wish = Wish.of(form)
        except MediaError as error:
            raise FormRefusedError(error.message, 400) from error
        where = await run_in_threadpool(carried_out, self.services, wish)
        if where is None:
            raise HTTPException(404, f"There is no {wish.kind.name} of this id.")
        return RedirectResponse(where, 303)

    def _with_form(self, request: Request, name: str, values: Values) -> Response:
        let_in = self.forms.pass_of(request)
        answer = self.templates.answer(name, {**values, "token": let_in.token})
        let_in.put_on(answer, request)
        return answer

    def _unavailable(self, missing: Missing) -> Response:
        return self.templates.answer("unavailable.html", {"missing": missing}, 503)


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


def _place(request: Request) -> Place | None:
    """Return the place after which a list goes on: a status, and an id with its type."""
    status, _, name = request.query_params.get("after", "").partition(":")
    if not name:
        return None
    try:
        return Place(Status(status), _id_in(name))
    except (ValueError, InvalidIdError):
        raise HTTPException(404, "There is no such page of the list.") from None


def _id_in(name: str) -> DocumentId:
    kind, _, text = name.partition(":")
    likeliest, *others = parse_id(text)
    return others[0] if kind == "number" and others else text if kind == "text" else likeliest


def _next(items: list[FailedItem]) -> str:
    """Return the place after a page's last item; empty on the last page."""
    named = [item for item in items[:_PAGE] if known_id(item.ref.id) is not None]
    if len(items) <= _PAGE or not named:
        return ""
    last = named[-1]
    kinds = {int: "number", str: "text"}
    return f"{last.status}:{kinds.get(type(last.ref.id), 'id')}:{id_text(last.ref.id)}"
