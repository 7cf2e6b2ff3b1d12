"""`/metrics`, `/health` and `/ready` of a whole crew: what each process answers, put together.

Every series bears the process that it comes from; what is wanted of all of them is a sum in
Prometheus, where a process that was started anew is not taken for a counter that fell.
"""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from streams.ops.crew import Crew, Hand
from streams.runtime.metrics_server import Page, Pages, metrics_page, verdict_page

ANSWER_S: Final = 3.0
"""Who takes longer does not answer."""


class Answer(NamedTuple):
    """What one process answered: status 0 is nothing."""

    hand: Hand
    status: int
    text: str


def crew_families() -> tuple[GaugeMetricFamily, CounterMetricFamily]:
    """Return the crew's own metrics: who answers, and how often each was started."""
    up, starts = "1 while a process answers, else 0.", "Starts of a process."
    return (
        GaugeMetricFamily("streams_crew_up", up, labels=["process"]),
        CounterMetricFamily("streams_crew_starts", starts, labels=["process"]),
    )


class CrewPages:
    """The pages of a crew; each request asks all processes side by side."""

    def __init__(self, crew: Crew) -> None:
        self._crew: Final = crew
        self._asking: Final = ThreadPoolExecutor(2 * len(crew.hands), "crew")

    def pages(self) -> Pages:
        """Return what is served over HTTP."""
        return {"/metrics": self._metrics, "/health": self._health, "/ready": self._ready}

    def _metrics(self) -> Page:
        registry = CollectorRegistry()
        registry.register(_Merged(self._ask("/metrics")))
        return metrics_page(registry)

    def _health(self) -> Page:
        """Name who is stuck; who is just being started is not."""
        answers = self._ask("/health")
        return verdict_page(_reasons([one for one in answers if one.status or self._is_deaf(one)]))

    def _is_deaf(self, answer: Answer) -> bool:
        return answer.hand.alive and not self._crew.is_starting(answer.hand)

    def _ready(self) -> Page:
        return verdict_page(_reasons(self._ask("/ready")))

    def _ask(self, path: str) -> list[Answer]:
        return list(self._asking.map(lambda hand: _ask_one(hand, path), self._crew.hands))


def _ask_one(hand: Hand, path: str) -> Answer:
    if not hand.alive:
        return Answer(hand, 0, "")
    host, port = hand.recruit.listening.getsockname()[:2]
    client = HTTPConnection(host, port, timeout=ANSWER_S)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        return Answer(hand, answer.status, answer.read().decode())
    except (OSError, HTTPException):
        return Answer(hand, 0, "")
    finally:
        client.close()


def _reasons(answers: Sequence[Answer]) -> list[str]:
    """Return why processes are not well, each under its name."""
    return [
        f"{hand.name}: {reason}"
        for hand, status, text in answers
        if status != HTTPStatus.OK
        for reason in (json.loads(text)["reasons"] if status else [_silence(hand)])
    ]


def _silence(hand: Hand) -> str:
    return "does not answer" if hand.alive else f"is being started again, ended with {hand.code}"


class _Merged(Collector):
    """The series of all processes, family by family, and the crew's own."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers: Final = answers

    def collect(self) -> Iterator[Metric]:
        up, starts = crew_families()
        families: dict[str, Metric] = {}
        for hand, status, text in self._answers:
            up.add_metric([hand.name], float(status == HTTPStatus.OK))
            starts.add_metric([hand.name], hand.starts)
            for family in text_string_to_metric_families(text):
                merged = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for name, labels, value, *_ in family.samples:
                    merged.add_sample(name, {**labels, "process": hand.name}, value)
        yield from (up, starts, *families.values())
