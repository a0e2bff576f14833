"""The service: routes, and the export that they answer from."""

from __future__ import annotations

import base64
import hashlib
import logging
import re
import threading
import time
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge
from prometheus_client import generate_latest as as_text
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response

from mentor_pyg.export import read_export
from mentor_pyg.serving.catalog import Catalog, UnknownIdError
from mentor_pyg.serving.guard import Guard, refusal
from mentor_pyg.version import __version__

__all__ = ["CurrentExport", "create_app"]

_Id = Annotated[str, Field(min_length=1, max_length=256)]
_K = Annotated[int, Field(ge=1, le=200)]
_Items = Annotated[list[_Id], Field(min_length=1, max_length=500)]
_logger = logging.getLogger(__name__)


class CurrentExport:
    """The export that is served, which :meth:`reload` replaces whole.

    Args:
        folder: The export, or a link to it.

    Raises:
        ValueError, OSError, ImportError: As :func:`~mentor_pyg.export.read_export` says.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()  # Links are followed at every reload.
        self._lock = threading.Lock()
        self.catalog = Catalog(read_export(self._folder))

    def reload(self) -> Catalog:
        """Read the folder anew and serve it; what was served before stays if that fails.

        It is tried three times, since the folder may be in the middle of being replaced.

        Raises:
            ValueError, OSError, ImportError: As :func:`~mentor_pyg.export.read_export` says.
        """
        with self._lock:
            for left in (2, 1, 0):
                try:
                    self.catalog = Catalog(read_export(self._folder))
                    break
                except (ValueError, OSError):
                    if not left:
                        raise
                    time.sleep(0.1)
            return self.catalog


class _Chosen(BaseModel):
    model_config = ConfigDict(extra="forbid")
    items: _Items
    k: _K = 10


class _WhyChosen(BaseModel):
    model_config = ConfigDict(extra="forbid")
    item: _Id
    items: _Items


def create_app(current: CurrentExport, token: str | None = None) -> FastAPI:
    """Return the service as an ASGI application.

    Every answer is of one export, whose version it has. Without a token it answers requests to
    loopback addresses only, see :class:`~mentor_pyg.serving.guard.Guard`.

    Args:
        current: The export.
        token: What requests need to prove that they may ask.
    """
    app = FastAPI(title="mentor_pyg", version=__version__, docs_url=None, redoc_url=None)
    registry = CollectorRegistry()
    app.add_middleware(Guard, token=token, registry=registry)
    _refuse_in_one_shape(app)
    _add_lists(app, current)
    _add_operations(app, current, registry)
    return app


def _add_lists(app: FastAPI, current: CurrentExport) -> None:
    lists = APIRouter(dependencies=[Depends(_refuse_unknown)])

    @lists.get("/recommend")
    async def for_user(user: Annotated[_Id, Query()], k: Annotated[_K, Query()] = 10) -> Response:
        catalog = current.catalog
        return _answer(catalog, user=user, results=catalog.for_user(user, k))

    @lists.post("/recommend")
    async def for_items(chosen: _Chosen) -> Response:
        catalog = current.catalog
        return _answer(catalog, results=catalog.for_items(chosen.items, chosen.k))

    @lists.get("/similar")
    async def similar(item: Annotated[_Id, Query()], k: Annotated[_K, Query()] = 10) -> Response:
        catalog = current.catalog
        return _answer(catalog, item=item, results=catalog.similar(item, k))

    @lists.get("/search")
    async def search(
        q: Annotated[str, Query(min_length=1, max_length=100)],
        kind: Literal["item", "user"] = "item",
        k: Annotated[_K, Query()] = 10,
    ) -> Response:
        catalog = current.catalog
        return _answer(catalog, results=catalog.search(kind, q, k))

    @lists.get("/why")
    async def why(
        item: Annotated[_Id, Query()], user: Annotated[_Id | None, Query()] = None
    ) -> Response:
        catalog = current.catalog
        return _answer(catalog, **catalog.why(item, user))

    @lists.post("/why")
    async def why_chosen(chosen: _WhyChosen) -> Response:
        catalog = current.catalog
        return _answer(catalog, **catalog.why(chosen.item, items=chosen.items))

    app.include_router(lists)


async def _refuse_unknown(request: Request) -> None:
    """Refuse parameters that nothing reads, such as one with a slip in its name."""
    route = request.scope["route"]
    known = [one.alias for one in route.dependant.query_params]  # codespell:ignore dependant
    for name in request.query_params:
        if name not in known:
            there = f"it is none of {', '.join(known)}" if known else "there are none"
            raise HTTPException(422, f"'{name[:40]}': {there}")


def _add_operations(app: FastAPI, current: CurrentExport, registry: CollectorRegistry) -> None:
    page, policy = _page()
    reloads = Counter("mentor_pyg_reloads", "Reloads.", ["outcome"], registry=registry)
    served = Gauge("mentor_pyg_export", "The export served.", ["version"], registry=registry)

    @app.get("/", include_in_schema=False)
    def index() -> Response:
        return HTMLResponse(page, headers={"content-security-policy": policy})

    @app.get("/health")
    async def health() -> Response:
        return _answer(current.catalog, status="ok")

    @app.get("/about")
    async def about() -> Response:
        catalog = current.catalog
        told = {
            name: catalog.export.description[name] for name in ("model", "users", "items", "index")
        }
        return _answer(catalog, **told)

    @app.get("/metrics")
    async def metrics() -> Response:
        served.clear()
        served.labels(current.catalog.version).set(1)
        return Response(as_text(registry), media_type=CONTENT_TYPE_LATEST)

    @app.post("/reload")
    def reload() -> Response:
        try:
            catalog = current.reload()
        except (ValueError, OSError, ImportError) as error:
            reloads.labels("failed").inc()
            _logger.error("not reloaded, and what was served before stays: %s", error)
            return refusal(409, "the export could not be read, and what was served before stays")
        reloads.labels("done").inc()
        return _answer(catalog, status="ok")


def _answer(catalog: Catalog, **values: Any) -> Response:
    return JSONResponse({"version": catalog.version, **values})


def _refuse_in_one_shape(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    def http(_: Request, error: HTTPException) -> Response:
        return refusal(error.status_code, error.detail, error.headers)

    @app.exception_handler(UnknownIdError)
    def unknown(_: Request, error: UnknownIdError) -> Response:
        return refusal(404, str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        if request.method == "POST" and "json" not in request.headers.get("content-type", ""):
            return refusal(422, "this needs the header 'Content-Type: application/json'")
        where = ".".join(str(part) for part in first["loc"][1:] if first["type"] != "json_invalid")
        return refusal(422, f"'{where}': {first['msg']}" if where else str(first["msg"]))


def _page() -> tuple[str, str]:
    """Return the web page, and the policy that lets a browser run its own script and no other."""
    page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    hashes = {}
    for tag in ("script", "style"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
        hashes[tag] = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
    return page, (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; "
        f"style-src 'sha256-{hashes['style']}'; img-src http: https:; connect-src 'self'; "
        f"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
