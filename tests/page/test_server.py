"""Who may look, what every answer forbids, and that nothing can be changed."""

import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
from aiohttp import ClientSession, CookieJar
from kit.page import page_over, page_sources
from kit.town import Town
from yarl import URL

from streams.page import inquiries
from streams.page.desk import Desk
from streams.page.guard import COOKIE, Guard
from streams.page.server import PageServer
from streams.page.views import VIEWS

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    town = await Town().start()
    yield town
    await town.stop()


@pytest.fixture
async def url(town: Town) -> AsyncIterator[str]:
    async with page_over(page_sources(town)) as url:
        yield url


@pytest.fixture
async def guarded(town: Town) -> AsyncIterator[str]:
    async with page_over(page_sources(town), TOKEN) as url:
        yield url


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield session


async def status_of(client: ClientSession, url: str | URL, **headers: str) -> int:
    async with client.get(url, headers=headers, allow_redirects=False) as answer:
        return answer.status


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *[("127.0.0.1:9466", 200), ("localhost", 200), ("[::1]:1", 200)],
        *[("evil.example", 403), ("127.0.0.1.evil.example", 403), ("0.0.0.0", 403)],
        *[("[", 403), ("127.0.0.1:99999999", 403)],
    ],
)
async def test_on_loopback_the_host_must_be_this_machine(
    client: ClientSession, url: str, host: str, status: int
) -> None:
    for path in ("/", "/api/v1/status", "/static/page.js"):
        assert await status_of(client, url + path, Host=host) == status


async def test_with_a_token_nothing_is_shown_without_it(
    client: ClientSession, guarded: str
) -> None:
    for name, kind in VIEWS.items():
        of = "" if kind.of is None else "/v1" if kind.of == "video" else "/discover:cars"
        assert await status_of(client, f"{guarded}/{name}{of}") == 303
        assert await status_of(client, f"{guarded}/events/{name}{of}") == 401
        assert await status_of(client, f"{guarded}/api/v1/{name}{of}") == 401
    assert await status_of(client, f"{guarded}/health") == 200


async def test_the_token_is_posted_once_and_a_cookie_stands_for_it(
    client: ClientSession, guarded: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.page.server.WRONG_S", 0)
    async with client.post(f"{guarded}/login", data={"token": "wrong"}) as answer:
        assert (answer.status, COOKIE in answer.cookies) == (401, False)
    async with client.post(
        f"{guarded}/login", data={"token": f" {TOKEN}\n"}, allow_redirects=False
    ) as answer:
        cookie = answer.cookies[COOKIE]
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        assert (cookie["httponly"], cookie["samesite"], TOKEN in cookie.value) == (
            *(True, "Strict"),
            False,
        )
    assert await status_of(client, f"{guarded}/lag") == 200
    assert await status_of(client, f"{guarded}/lag", Host="ops.example") == 200


async def test_a_cookie_of_another_process_is_worth_nothing(
    client: ClientSession, guarded: str, town: Town
) -> None:
    async with page_over(page_sources(town), TOKEN) as other:
        async with client.post(f"{other}/login", data={"token": TOKEN}) as answer:
            assert answer.status == 200
        assert await status_of(client, f"{guarded}/lag") == 303


@pytest.mark.parametrize("path", ["/", "/static/page.css", "/api/v1/halts", "/nothing", "/login"])
async def test_every_answer_forbids_what_is_not_its_own(
    client: ClientSession, url: str, path: str
) -> None:
    async with client.get(url + path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in answer.headers


async def test_the_page_holds_nothing_inline(client: ClientSession, url: str) -> None:
    for path in ("/", "/login"):
        async with client.get(url + path) as answer:
            text = await answer.text()
        assert "<style" not in text
        assert " style=" not in text
        assert "<script>" not in text
        assert " on" not in [part[:3] for part in text.split("<")]


async def test_nothing_can_be_changed(town: Town) -> None:
    application = PageServer(Desk(page_sources(town)), Guard(None)).application()
    methods = {
        (route.method, str(route.resource and route.resource.canonical))
        for route in application.router.routes()
    }
    assert {path for method, path in methods if method not in ("GET", "HEAD")} == {"/login"}


@pytest.mark.parametrize(
    "path",
    [
        *["/nothing", "/static/../server.py", "/static/none.js", "/video/a%20b", "/slice/mars:x"],
        *["/events/video/a%2Fb", "/api/v1/slice/discover", "/video?id=%3Cb%3E"],
    ],
)
async def test_what_is_no_name_is_not_found(client: ClientSession, url: str, path: str) -> None:
    assert await status_of(client, url + path) == 404


async def test_no_path_is_an_error_of_the_server(client: ClientSession, guarded: str) -> None:
    """Paths of odd pieces, with and without a cookie; each is found, forbidden or not there."""
    chance = Random(7)
    pieces = [
        "video",
        "slice",
        "events",
        "api",
        "v1",
        "static",
        "..",
        "%2e%2e",
        "%00",
        "%ff",
        "x" * 9_000,
    ]
    pieces += ["discover:cars", "v1", "?id=%ff", "?", "#", "%F0%9F%90%88", "login", "health"]
    for _ in range(150):
        path = "/" + "/".join(chance.choices(pieces, k=chance.randint(1, 4)))
        cookie = chance.choice(["", f"{COOKIE}=x", f"{COOKIE}=%ff; a=b", "=;"])
        status = await status_of(client, URL(guarded + path, encoded=True), Cookie=cookie)
        assert status in (200, 303, 400, 401, 403, 404, 414), (status, path)


async def test_the_form_leads_to_the_video_that_it_names(client: ClientSession, url: str) -> None:
    async with client.get(f"{url}/video?id=v-1", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/video/v-1")


async def test_a_stream_tells_its_view_again_and_again(
    client: ClientSession, url: str, town: Town
) -> None:
    async with client.get(f"{url}/events/halts") as answer:
        assert answer.content_type == "text/event-stream"
        told = []
        async for line in answer.content:
            if line.startswith(b"data: "):
                told.append(json.loads(line[6:]))
                await town.live(1)
            if len(told) == 2:
                break
    assert [one["view"] for one in told] == ["halts", "halts"]
    assert told[0]["at"] < told[1]["at"]


async def test_too_many_different_views_are_refused(
    client: ClientSession, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inquiries, "MOST", 1)
    async with client.get(f"{url}/events/halts"):
        assert await status_of(client, f"{url}/api/v1/halts") == 200
        assert await status_of(client, f"{url}/api/v1/lag") == 503


async def test_why_a_view_is_not_known_is_told(client: ClientSession, url: str) -> None:
    async with client.get(f"{url}/api/v1/slice/discover:nobody") as answer:
        told: dict[str, Any] = await answer.json()
    assert told["answer"] is None
    assert "no policy is in force yet" in told["why"] or "has no slice" in told["why"]
    assert told["commands"] == ["streams slice show discover:nobody"]
