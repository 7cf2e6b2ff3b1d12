"""The page over HTTP: a shell a view, its files, and a stream of answers for each."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from importlib.resources import files
from typing import Any, Final

from aiohttp import web

from streams.core.units import ID_ALPHABET, ID_MAX, is_slice
from streams.page.desk import Desk
from streams.page.guard import HEADERS, Guard
from streams.page.inquiries import Ask, Crowded, Inquiry, Shared
from streams.page.views import VIEWS
from streams.runtime.ending import end

EVERY_S: Final = 2.0
"""Between two answers of a view."""
WRONG_S: Final = 1.0
"""So long a wrong token waits for its answer."""
BODY_BYTES: Final = 4_096
STATIC: Final = files("streams.page") / "static"
TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PageServer:
    """Shows what a desk has to whoever the guard lets in; changes nothing."""

    def __init__(self, desk: Desk, guard: Guard, every_s: float = EVERY_S) -> None:
        self._desk: Final = desk
        self._guard: Final = guard
        self._shared: Final = Shared(every_s)
        self._files: Final = {
            one.name: one.read_bytes() for one in STATIC.iterdir() if _type_of(one.name)
        }

    def application(self) -> web.Application:
        """Return what an aiohttp server runs; it watches the lag meanwhile."""
        application = web.Application(client_max_size=BODY_BYTES, middlewares=[self._guarded()])
        router = application.router
        router.add_get("/health", _healthy)
        router.add_get("/login", self._login)
        router.add_post("/login", self._admit)
        router.add_get("/static/{name}", self._file)
        router.add_get("/", self._shell)
        router.add_get("/video", _to_video)
        for name, kind in VIEWS.items():
            rest = "" if kind.of is None else "/{of}"
            router.add_get(f"/{name}{rest}", self._shell)
            router.add_get(f"/events/{name}{rest}", self._events)
            router.add_get(f"/api/v1/{name}{rest}", self._answer)
        application.cleanup_ctx.append(self._watching)
        return application

    async def _watching(self, _: web.Application) -> AsyncIterator[None]:
        watch = asyncio.create_task(self._desk.watch())
        yield
        await end(watch)
        await self._shared.close()

    def _guarded(self) -> Any:  # aiohttp's middlewares are typed by their protocol
        @web.middleware
        async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._guard.knows_host(request):
                answer: web.StreamResponse = web.Response(
                    status=403, text="the host of the request is not this machine\n"
                )
            elif self._guard.passes(request) or _is_open(request.path):
                answer = await _handled(request, handler)
            elif request.path.startswith(("/events/", "/api/")):
                answer = web.json_response({"error": "log in first, at /login"}, status=401)
            else:
                answer = web.Response(status=303, headers={"Location": "/login"})
            if not answer.prepared:
                answer.headers.update(HEADERS)
            return answer

        return guarded

    async def _shell(self, request: web.Request) -> web.Response:
        _viewed(request)
        return self._sent("page.html")

    async def _file(self, request: web.Request) -> web.Response:
        return self._sent(request.match_info["name"])

    async def _login(self, _: web.Request) -> web.Response:
        return self._login_page("", 200)

    def _login_page(self, words: str, status: int) -> web.Response:
        text = self._files["login.html"].decode().replace("<!--words-->", words)
        return web.Response(text=text, status=status, content_type="text/html")

    async def _admit(self, request: web.Request) -> web.Response:
        answer = web.Response(status=303, headers={"Location": "/"})
        token = str((await request.post()).get("token", "")).strip()
        if self._guard.admit(token, answer, request):
            return answer
        await asyncio.sleep(WRONG_S)
        return self._login_page("That is not the token.", 401)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Send each answer of a view as it comes, until the browser leaves."""
        async with self._looking(request) as (inquiry, about):
            answer = web.StreamResponse(headers=HEADERS)
            answer.content_type = "text/event-stream"
            with suppress(ConnectionError):
                await answer.prepare(request)
                await answer.write(b"retry: 2000\n\n")
                async for value, why in inquiry.answers():
                    text = self._spelled(about, value, why)
                    await answer.write(b"data: " + text + b"\n\n")
        return answer

    async def _answer(self, request: web.Request) -> web.Response:
        """Send one answer of a view."""
        async with self._looking(request) as (inquiry, about):
            async for value, why in inquiry.answers():
                text = self._spelled(about, value, why)
                return web.Response(body=text, content_type="application/json")
        raise AssertionError("an inquiry has answers without end")

    @asynccontextmanager
    async def _looking(self, request: web.Request) -> AsyncIterator[tuple[Inquiry, dict[str, Any]]]:
        name, of = _viewed(request)
        kind = VIEWS[name]
        about = {"view": name, "of": of, "commands": [one.format(of=of) for one in kind.commands]}

        def view() -> AbstractAsyncContextManager[Ask]:
            return kind.view(self._desk, of)

        try:
            async with self._shared.looking((name, of), view) as inquiry:
                yield inquiry, about
        except Crowded:
            raise web.HTTPServiceUnavailable(text="too many different views at once\n") from None

    def _spelled(self, about: dict[str, Any], value: Any, why: str | None) -> bytes:
        now_ms = self._desk.sources.status.now_ms()
        answer = {**about, "at": now_ms, "answer": value, "why": why}
        return json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode()

    def _sent(self, name: str) -> web.Response:
        if name not in self._files:
            raise web.HTTPNotFound(text="there is no such file\n")
        body, kind = self._files[name], _type_of(name)
        return web.Response(body=body, content_type=kind, charset="utf-8")


def _viewed(request: web.Request) -> tuple[str, str]:
    """Return the view that a path names and what it is of; not found if that is no name."""
    parts = request.path.removeprefix("/events").removeprefix("/api/v1").strip("/").split("/")
    name, of = parts[0] or "status", request.match_info.get("of", "")
    wanted = VIEWS[name].of
    if (wanted == "video" and not _is_id(of)) or (wanted == "slice" and not is_slice(of)):
        raise web.HTTPNotFound(text=f"this is no name of a {wanted}\n")
    return name, of


async def _handled(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as refused:
        return web.Response(status=refused.status, text=refused.text)


async def _to_video(request: web.Request) -> web.Response:
    """Lead the form of the page to the video that it names."""
    video = request.query.get("id", "").strip()
    if not _is_id(video):
        raise web.HTTPNotFound(text=f"an id is 1 to {ID_MAX} of A-Z a-z 0-9 _ -\n")
    return web.Response(status=303, headers={"Location": f"/video/{video}"})


async def _healthy(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def _is_open(path: str) -> bool:
    """Tell whether everybody may have this: the way in, and the files of the page."""
    return path in ("/login", "/health") or path.startswith("/static/")


def _is_id(text: str) -> bool:
    raw = text.encode()
    return 0 < len(raw) <= ID_MAX and not raw.translate(None, ID_ALPHABET)


def _type_of(name: str) -> str | None:
    return TYPES.get(name[name.rfind(".") :])
