"""Events over HTTP, for producers without Kafka: one POST of lines, durable when it is answered.

All of a request is taken or nothing; what is wrong with it is said by line and field, and nothing
that was sent comes back. A browser on another site cannot write here: there are no CORS headers,
and the content type is one that a form does not have.
"""

import asyncio
import ipaddress
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from aiohttp import hdrs, web

from streams.client.intake import Taken, events_in, take_event
from streams.client.outbox import Limits, Outbox
from streams.client.producers import Tokens
from streams.errors import DeadLetter, Halt, Retry
from streams.runtime.headers import PRODUCER
from streams.runtime.ports import LastingProducer
from streams.settings import Settings

PATH: Final = "/api/v1/events"
CONTENT_TYPE: Final = "application/x-ndjson"
BODY_BYTES: Final = 1_000_000
EVENTS_MAX: Final = 1_000
REQUESTS_MAX: Final = 32
"""Requests whose bodies are in memory at once; more are told to come again."""
BODY_S: Final = 30.0
"""Longest time that a body may take to arrive."""
SHOWN: Final = 10
"""Refusals that an answer lists; it counts all."""
NAMELESS: Final = "intake"
"""The producer that a record names where no tokens are needed."""
RESERVED: Final = "__streams."
"""How the names of the pipeline's own headers begin."""
LIMITS: Final = Limits(linger_ms=10, memory_bytes=16 << 20, patience_s=30.0)
"""Of each producer apart: one that sends too much holds up no other."""


class NotTaken(Exception):
    """The answer to a request that is not taken: status, and what to do in `body`."""

    def __init__(self, status: HTTPStatus, message: str, **more: object) -> None:
        super().__init__(message)
        self.status: Final = status
        self.body: Final = {"error": message, **more}


class HttpIntake:
    """Takes requests, from loopback only or with a token each, and answers when brokers have them.

    `topics` are those that can be written with their partitions, `now_ms` is the time.
    """

    def __init__(
        self,
        producer: LastingProducer,
        settings: Settings,
        topics: Mapping[str, int],
        tokens: Tokens,
        now_ms: Callable[[], int],
    ) -> None:
        self._producer = producer
        self._settings = settings
        self._topics = topics
        self._tokens = tokens
        self._now_ms = now_ms
        self._outboxes: dict[str, Outbox] = {}
        self._requests = 0

    def application(self) -> web.Application:
        """Return what an aiohttp server runs."""
        application = web.Application(client_max_size=BODY_BYTES)
        application.router.add_post(PATH, self._answer)
        application.router.add_get("/health", _healthy)
        return application

    async def close(self) -> None:
        """Stop the producer; what is not written is answered so."""
        for outbox in self._outboxes.values():
            await outbox.stop()

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            taken = await self._take(request)
        except NotTaken as refused:
            headers = {"Retry-After": "1"} if refused.status in _LATER else None
            return web.json_response(
                refused.body, status=refused.status, headers=headers, dumps=_dumps
            )
        return web.json_response({"events": taken}, status=HTTPStatus.ACCEPTED, dumps=_dumps)

    async def _take(self, request: web.Request) -> int:
        """Write the events of a request and return how many they are, or raise `NotTaken`."""
        name = self._producer_of(request)
        _require_plain(request)
        outbox = self._outbox(name)
        if self._requests >= REQUESTS_MAX or not outbox.has_room:
            raise NotTaken(HTTPStatus.TOO_MANY_REQUESTS, "too much at once: send it again later")
        self._requests += 1
        try:
            events = self._events(await _body(request))
        finally:
            self._requests -= 1
        for event in events:
            _require_topic(outbox, event)
        await _write(outbox, events)
        return len(events)

    def _producer_of(self, request: web.Request) -> str:
        """Return who sends: known by a token, or by nothing but being on this machine."""
        if not self._tokens:
            if not names_loopback(request):
                raise NotTaken(HTTPStatus.FORBIDDEN, "the host of the request is not this machine")
            return NAMELESS
        scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
        name = self._tokens.producer(token.strip()) if scheme.lower() == "bearer" else None
        if name is None:
            raise NotTaken(HTTPStatus.UNAUTHORIZED, "no token that is known: Authorization: Bearer")
        return name

    def _outbox(self, name: str) -> Outbox:
        if name not in self._outboxes:
            self._outboxes[name] = Outbox(
                *(self._producer, self._settings, self._topics, LIMITS),
                headers=[(PRODUCER, name.encode())],
            )
        return self._outboxes[name]

    def _events(self, body: bytes) -> Sequence[Taken]:
        """Return the events of a body; `NotTaken` if there are none, too many or bad ones."""
        taken: list[Taken] = []
        bad: list[dict[str, object]] = []
        for line, element, outcome in self._checked(body):
            if isinstance(outcome, DeadLetter):
                place = {"line": line, "element": element}
                bad.append(place | {"reason": outcome.reason, "message": str(outcome)})
            else:
                taken.append(outcome)
            if len(taken) + len(bad) > EVENTS_MAX:
                message = f"more than {EVENTS_MAX:,} events: send fewer at once"
                raise NotTaken(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message)
        if bad:
            message = "nothing is taken: events that the pipeline would refuse"
            raise NotTaken(HTTPStatus.BAD_REQUEST, message, count=len(bad), refused=bad[:SHOWN])
        if not taken:
            raise NotTaken(HTTPStatus.BAD_REQUEST, "no events: send one JSON object a line")
        return taken

    def _checked(self, body: bytes) -> Iterator[tuple[int, int, Taken | DeadLetter]]:
        """Yield each event by its line and its place there, decoded or refused."""
        limit, now_ms = self._settings.record_bytes, self._now_ms()
        for line, text in enumerate(body.split(b"\n"), start=1):
            if not text.strip():
                continue
            try:
                values = events_in(text, limit)
            except DeadLetter as letter:
                yield line, 0, letter
                continue
            for element, value in enumerate(values):
                yield line, element, _check(value, now_ms, limit)


_LATER: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


def _check(value: bytes, now_ms: int, limit: int) -> Taken | DeadLetter:
    try:
        taken = take_event(value, now_ms, limit)
    except DeadLetter as letter:
        return letter
    if taken.topic == "reviews":
        return DeadLetter("type_unknown", "reviews are not taken over HTTP")
    return taken


def _require_plain(request: web.Request) -> None:
    """Refuse what no honest producer sends: forms, packed bodies, headers of dead letters."""
    if request.content_type != CONTENT_TYPE or hdrs.CONTENT_ENCODING in request.headers:
        message = f"send Content-Type: {CONTENT_TYPE}, not packed"
        raise NotTaken(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, message)
    if any(name.lower().startswith(RESERVED) for name in request.headers):
        raise NotTaken(HTTPStatus.BAD_REQUEST, f"headers {RESERVED}* are the pipeline's own")


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        message = f"more than {BODY_BYTES:,} bytes: send less at once"
        raise NotTaken(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message) from None
    except TimeoutError:
        raise NotTaken(HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time") from None


def _require_topic(outbox: Outbox, taken: Taken) -> None:
    try:
        outbox.require(taken)
    except Halt:
        message = f"no topic for {taken.topic}: its operator must create it"
        raise NotTaken(HTTPStatus.SERVICE_UNAVAILABLE, message) from None


async def _write(outbox: Outbox, events: Sequence[Taken]) -> None:
    """Return when all in-sync replicas have the events."""
    written = {outbox.add(event).written for event in events}
    try:
        for one in written:
            await one
    except Retry:
        message = "not all is written: send all again, repeats of an id are dropped"
        raise NotTaken(HTTPStatus.SERVICE_UNAVAILABLE, message) from None


async def _healthy(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def names_loopback(request: web.Request) -> bool:
    """Tell whether a request asks for this machine by one of its own names."""
    try:
        return is_loopback(request.url.host or "")
    except ValueError:  # no name at all
        return False


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine and nothing else.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("0.0.0.0"), is_loopback("a.org")
    (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _dumps(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False)
