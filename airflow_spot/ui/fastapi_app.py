"""The pages as an application of FastAPI, which Airflow 3's API server mounts."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.core_api.security import get_user
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from airflow_spot import config
from airflow_spot.compat.access import Airflow3Viewer, token_by_script
from airflow_spot.ui.pages import Pages
from airflow_spot.ui.values import Request as Asked

_SHELLS = token_by_script()


def make_app(pages: Pages | None = None) -> FastAPI:
    """Return the application. Every route asks Airflow who it is for."""
    app = FastAPI(title="airflow-spot", openapi_url=None, docs_url=None, redoc_url=None)
    answers = pages or Pages()

    async def answer(request: Request, user: Any) -> Response:
        asked = await run_in_threadpool(_asked, request, user)
        told = await run_in_threadpool(answers.answer, asked)
        # A set of bytes, so that HEAD is answered as GET is.
        return Response(told.body, told.status, told.headers)

    # One route: what a path means is one decision, see ui/pages.py.
    @app.api_route("/{path:path}", methods=["GET", "HEAD", "POST"])
    async def known(request: Request, user: Annotated[Any, Depends(get_user)]) -> Response:
        return await answer(request, user)

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: Exception) -> Response:
        # Airflow's own dependency raises for who is not logged in, and nothing else does.
        return await answer(request, None)

    return app


def _asked(request: Request, user: Any) -> Asked:
    airflow = config.airflow_base()
    return Asked(
        method=request.method,
        path=_below(request, airflow),
        query=dict(request.query_params),
        headers={name.lower(): value for name, value in request.headers.items()},
        viewer=None if user is None else Airflow3Viewer(user),
        base=config.pages_base(),
        airflow=airflow,
        shells=_SHELLS,
    )


def _below(request: Request, airflow: str) -> str:
    """Return the path below the pages' own, as it came: an id in it may hold a slash, percent-encoded."""
    raw = request.scope.get("raw_path") or quote(request.scope["path"]).encode()
    path = raw.decode("latin-1").partition("?")[0]
    for prefix in (f"{airflow}{config.PAGES}", config.PAGES):
        if path == prefix or path.startswith(f"{prefix}/"):
            return str(path[len(prefix) :])
    return str(path)  # mounted elsewhere, such as at the root
