"""Events over HTTP: what is taken, what is refused and how, and that nothing comes back."""

import asyncio
import json
import logging
import zlib
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from aiohttp import ClientSession, web

from streams.client import http_intake, outbox
from streams.client.examples import EXAMPLES
from streams.client.http_intake import BODY_BYTES, CONTENT_TYPE, PATH, HttpIntake
from streams.client.outbox import Limits
from streams.client.producers import Tokens, hash_of, new_token
from streams.core.events import (
    CONTROL_TYPES,
    Hold,
    Like,
)
from streams.core.words import Review
from streams.errors import Misconfigured
from streams.runtime.memory.log import MemoryLog
from streams.runtime.memory.producer import MemoryProducer
from streams.runtime.ports import Outgoing
from streams.runtime.signing import encode
from streams.settings import load_settings

SETTINGS = load_settings(Path(__file__).parents[2] / "config", {}, {})
TOPICS = ("uploads", "recognitions", "reviews", "interactions")
TS = 1_714_557_600_000
NOW_MS = 1_800_000_000_000
TOKEN = new_token()
TOKENS = Tokens({"android": [hash_of(TOKEN)], "ios": [hash_of(new_token())]})
SECRET = "s3cr3t-payload"
Answer = tuple[int, dict[str, Any]]


def like(number: int, video: str = "v") -> bytes:
    return encode(Like(f"e{number}", video, f"u{number}", "discover:football", TS))


class Slow(MemoryProducer):
    """Brokers that acknowledge when told to."""

    def __init__(self, log: MemoryLog) -> None:
        super().__init__(log)
        self.go = asyncio.Event()
        self.go.set()

    async def send(self, record: Outgoing) -> Awaitable[None]:
        acknowledged = await super().send(record)

        async def later() -> None:
            await self.go.wait()
            await acknowledged

        return asyncio.ensure_future(later())


class Site:
    """A running intake, and a client of it."""

    def __init__(self, tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = MemoryLog(now_ms=lambda: NOW_MS)
        for topic in TOPICS:
            self.log.create(topic, 4)
        self.brokers = Slow(self.log)
        self.patch = monkeypatch
        server = HttpIntake(self.brokers, SETTINGS, self.log.topics(), tokens, lambda: NOW_MS)
        self.intake = server
        self.runner = web.AppRunner(server.application(), access_log=None, auto_decompress=False)
        self.session = ClientSession()
        self.url = ""

    async def start(self) -> None:
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        await self.session.close()
        await self.runner.cleanup()
        await self.intake.close()

    async def post(self, body: bytes, **headers: str) -> Answer:
        given = {"Content-Type": CONTENT_TYPE} | {
            k.replace("_", "-"): v for k, v in headers.items()
        }
        async with self.session.post(self.url + PATH, data=body, headers=given) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
            text = await answer.text()
            assert SECRET not in text
            assert (answer.headers.get("Retry-After") is not None) == (answer.status in (429, 503))
            return answer.status, json.loads(text)

    def events(self, topic: str = "interactions") -> list[dict[str, Any]]:
        values = [json.loads(one.value) for p in range(4) for one in self.log.records(topic, p)]
        return [
            event for value in values for event in (value if isinstance(value, list) else [value])
        ]

    def producers(self) -> set[tuple[str, bytes | None]]:
        logs = [self.log.records(topic, p) for topic in TOPICS for p in range(4)]
        return {header for log in logs for record in log for header in record.headers}


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """An intake on loopback, for whoever is on this machine."""
    made = Site(Tokens(), monkeypatch)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def guarded(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """An intake that wants a token."""
    made = Site(TOKENS, monkeypatch)
    await made.start()
    yield made
    await made.stop()


async def test_lines_of_events_and_of_arrays_are_in_their_topics_when_it_answers(
    site: Site,
) -> None:
    public = [encode(event) for event in EXAMPLES if not isinstance(event, Review)]
    body = b"\n".join([*public, b"", b"[" + like(1) + b", " + like(2) + b"]", b""])
    assert await site.post(body) == (202, {"events": len(public) + 2})
    assert [len(site.events(topic)) for topic in TOPICS] == [2, 1, 0, 16]
    assert site.producers() == {("x-producer", b"intake")}


async def test_it_answers_only_when_the_brokers_have_the_events(site: Site) -> None:
    site.brokers.go.clear()
    posting = asyncio.ensure_future(site.post(like(1)))
    while not site.events():  # noqa: ASYNC110 - the log tells nobody when it grows
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)
    assert not posting.done()
    site.brokers.go.set()
    assert (await posting)[0] == 202


BAD: list[tuple[bytes, int, str]] = [
    (b"", 400, "no events"),
    (b"\n \n", 400, "no events"),
    (b"[]", 400, "an array without events"),
    (b"{", 400, "truncated"),
    (b"\xff\xfe", 400, "malformed"),
    (like(1).replace(b"e1", b"s3cr3t-payload e"), 400, "outside A-Z"),
    (like(1).replace(b"discover", b"s3cr3t-payload"), 400, "surface:group"),
    (b'{"type":"s3cr3t-payload"}', 400, "vocabulary"),
    (encode(Hold("h", "v", TS, 1)), 400, "only the control plane signs"),
    (encode(Review("r", "v", TS, "approve", "me")), 400, "reviews are not taken"),
    (b"[" + b"1," * 400_000 + b"1]", 413, "1,000 events"),
    (b"\n".join(like(n) for n in range(1_001)), 413, "1,000 events"),
    (b" " * (BODY_BYTES + 1), 413, "1,000,000 bytes"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD, ids=[w for _, _, w in BAD])
async def test_what_it_cannot_take_is_said_without_what_was_sent_and_nothing_is_taken(
    site: Site, caplog: pytest.LogCaptureFixture, body: bytes, status: int, words: str
) -> None:
    caplog.set_level(logging.DEBUG)
    head = b"" if status == 413 or not body.strip() else like(0) + b"\n"
    code, answer = await site.post(head + body)
    assert code == status
    assert words in json.dumps(answer)
    assert SECRET not in caplog.text
    assert site.events() == []


async def test_every_control_type_is_refused(site: Site) -> None:
    for tag in CONTROL_TYPES:
        code, answer = await site.post(b'{"type":"%s"}' % tag.encode())
        assert (code, answer["refused"][0]["reason"]) == (400, "signature")


async def test_bad_events_are_named_by_line_and_element_the_first_ten_of_all(site: Site) -> None:
    bad = like(1).replace(b"football", b"Foot")
    body = b"\n".join([like(0), b"[" + like(1) + b"," + bad + b"]", *[bad] * 20])
    code, answer = await site.post(body)
    assert code == 400
    assert answer["count"] == 21
    assert len(answer["refused"]) == 10
    assert answer["refused"][0]["line"] == 2
    assert answer["refused"][0]["element"] == 1
    assert answer["refused"][0]["reason"] == "slice"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content_Type": "application/x-ndjson; charset=utf-8"}, 202),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Host": "evil.example:9465"}, 403),
        ({"Host": "localhost:99999999"}, 403),
        ({"Host": "localhost:9465"}, 202),
    ],
)
async def test_a_browser_of_another_site_or_a_packed_body_is_refused(
    site: Site, headers: dict[str, str], status: int
) -> None:
    assert (await site.post(like(1), **headers))[0] == status
    assert len(site.events()) == (status == 202)


async def test_a_bomb_is_not_unpacked(site: Site) -> None:
    bomb = zlib.compress(b" " * 100_000_000)
    assert (await site.post(bomb, Content_Encoding="deflate"))[0] == 415


async def test_headers_of_the_pipeline_are_refused_and_none_is_passed_on(site: Site) -> None:
    given = {"Content-Type": CONTENT_TYPE, "__streams.errors.reason": "x"}
    async with site.session.post(site.url + PATH, data=like(1), headers=given) as answer:
        assert answer.status == 400
    assert (await site.post(like(1), x_producer="admin", streams_signature="x"))[0] == 202
    assert site.producers() == {("x-producer", b"intake")}


async def test_with_tokens_each_request_shows_one_and_records_name_its_producer(
    guarded: Site,
) -> None:
    for wrong in ({}, {"Authorization": "Bearer x"}, {"Authorization": f"Basic {TOKEN}"}):
        assert (await guarded.post(like(1), **wrong))[0] == 401
    assert (await guarded.post(like(1), Authorization=f"Bearer {hash_of(TOKEN)}"))[0] == 401
    assert guarded.events() == []
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "feedback.example"}
    assert (await guarded.post(like(1), **headers))[0] == 202
    assert guarded.producers() == {("x-producer", b"android")}


async def test_while_memory_is_full_it_asks_to_come_again_and_others_are_served(
    guarded: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_intake, "LIMITS", Limits(memory_bytes=1, linger_ms=1))
    other = new_token()
    guarded.intake._tokens._names[hash_of(other)] = "web"
    guarded.brokers.go.clear()
    headers = {"Authorization": f"Bearer {TOKEN}"}
    first = asyncio.ensure_future(guarded.post(like(1), **headers))
    while not guarded.events():  # noqa: ASYNC110 - the log tells nobody when it grows
        await asyncio.sleep(0.001)
    assert (await guarded.post(like(2), **headers))[0] == 429
    second = asyncio.ensure_future(guarded.post(like(3), Authorization=f"Bearer {other}"))
    while len(guarded.events()) < 2:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.001)
    guarded.brokers.go.set()
    assert [(await first)[0], (await second)[0]] == [202, 202]
    assert (await guarded.post(like(2), **headers))[0] == 202


async def test_too_many_bodies_at_once_are_asked_to_come_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_intake, "REQUESTS_MAX", 1)
    arriving, rest = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield like(1)
        arriving.set()
        await rest.wait()

    headers = {"Content-Type": CONTENT_TYPE}
    first = asyncio.ensure_future(site.session.post(site.url + PATH, data=slow(), headers=headers))
    await arriving.wait()
    while site.intake._requests == 0:  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.001)
    assert (await site.post(like(2)))[0] == 429
    rest.set()
    assert (await first).status == 202


async def test_a_body_that_never_arrives_ends(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_intake, "BODY_S", 0.05)

    async def never() -> AsyncIterator[bytes]:
        yield like(1)
        await asyncio.Event().wait()

    headers = {"Content-Type": CONTENT_TYPE}
    async with site.session.post(site.url + PATH, data=never(), headers=headers) as answer:
        assert answer.status == 408


async def test_what_brokers_did_not_take_is_to_be_sent_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "PAUSE_S", 0.0)
    monkeypatch.setattr(http_intake, "LIMITS", Limits(patience_s=0, linger_ms=1))
    site.log.leaderless.update(("interactions", partition) for partition in range(4))
    assert (await site.post(like(1)))[0] == 503
    site.log.leaderless.clear()
    assert (await site.post(like(1)))[0] == 202
    assert [event["id"] for event in site.events()] == ["e1"]


async def test_it_says_that_it_lives(site: Site) -> None:
    async with site.session.get(f"{site.url}/health") as answer:
        assert await answer.json() == {"status": "ok"}
    async with site.session.get(site.url + PATH) as answer:
        assert answer.status == 405


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[producers]\nandroid = ["secret"]', "--new-token NAME"),
        ('[producers]\n"a b" = []', "--new-token NAME"),
        ("[producer]", r"write a table .producers."),
        ("nonsense", "not valid TOML"),
    ],
)
def test_a_file_of_tokens_that_cannot_be_used_is_named(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "tokens.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(Misconfigured, match=words) as error:
        Tokens.from_toml(path)
    assert str(path) in str(error.value)
    assert "secret" not in str(error.value)


def test_a_file_of_tokens_may_hold_several_of_a_producer(tmp_path: Path) -> None:
    old, new = new_token(), new_token()
    path = tmp_path / "tokens.toml"
    path.write_text(f'[producers]\nios = ["{hash_of(old)}", "{hash_of(new)}"]', "utf-8")
    tokens = Tokens.from_toml(path)
    assert [tokens.producer(token) for token in (old, new, "x")] == ["ios", "ios", None]


TYPES = (CONTENT_TYPE, "application/json", "text/plain", "x", "application/x-ndjson; charset=\xff")


async def test_no_bytes_are_an_error_of_the_server(guarded: Site) -> None:
    """Bodies damaged at random places, of other types, packed, with all kinds of tokens."""
    chance = Random(7)
    odd = [b"[" * 5_000, b"\xff", b'"', b"\x00\x1f\x8b"]
    for _ in range(150):
        body = bytearray(like(1) + b"\n[" + like(2) + b"]")
        at = chance.randrange(len(body))
        body[at : at + chance.randrange(9)] = chance.choice(odd)
        status, answer = await guarded.post(
            bytes(body),
            Content_Type=chance.choice(TYPES),
            Content_Encoding=chance.choice(["identity", "gzip", "deflate", "br", "x"]),
            Authorization=chance.choice([f"Bearer {TOKEN}", "Bearer", "Basic x", "Bearer \xe9"]),
        )
        assert status in (202, 400, 401, 413, 415), (status, answer)
