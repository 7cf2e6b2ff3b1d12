"""A crew: who ends is started again, all stop together, and one address answers for all."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from kit.patience import PATIENCE_S

from streams.errors import Halt, Misconfigured, StreamsError
from streams.ops import crew as module
from streams.ops.crew import Crew, Recruit
from streams.ops.crew_pages import CrewPages
from streams.runtime.metrics_server import Page, listen

ROOT = Path(__file__).parents[2]
IDLE = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("streams: running", file=sys.stderr, flush=True)
print("2026-11-27 INFO a line of a log", file=sys.stderr, flush=True)
signal.pause()
"""
DEAF = IDLE.replace("lambda *_: sys.exit(0)", "signal.SIG_IGN").replace(
    "signal.pause()", "[signal.pause() for _ in iter(int, 1)]"
)
SERVING = """
import signal, socket, sys, threading
from prometheus_client import CollectorRegistry, Counter
from streams.runtime.metrics_server import metrics_page, serve, verdict_page
registry = CollectorRegistry()
Counter("streams_folded", "Folded.", ["kind"], registry=registry).labels("view").inc(3)
serve(socket.socket(fileno=int(sys.argv[1])), {
    "/metrics": lambda: metrics_page(registry),
    "/health": lambda: verdict_page([]),
    "/ready": lambda: verdict_page(sys.argv[2:]),
})
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("streams: serving", file=sys.stderr, flush=True)
signal.pause()
"""


def recruit(name: str, script: str = IDLE, *more: str) -> Recruit:
    listening = listen("127.0.0.1", 0)
    command = [sys.executable, "-c", script, str(listening.fileno()), *more]
    return Recruit(name, command, listening)


class Running:
    """A crew that runs, and the lines that it passed on."""

    def __init__(self, *recruits: Recruit) -> None:
        self.lines: list[str] = []
        self.recruits = recruits
        self.crew = Crew(recruits, self.lines.append)
        self.task = asyncio.create_task(self.crew.run())

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():  # noqa: ASYNC110 - what a process does has no event here
                await asyncio.sleep(0.01)

    async def says(self, line: str, times: int = 1) -> None:
        await self.until(lambda: self.lines.count(line) >= times)

    async def stop(self) -> None:
        self.crew.pass_on(signal.SIGTERM)
        await self.task


@asynccontextmanager
async def running(*recruits: Recruit) -> AsyncIterator[Running]:
    made = Running(*recruits)
    try:
        yield made
    finally:
        made.crew.pass_on(signal.SIGKILL)
        await asyncio.wait([made.task])
        if not made.task.cancelled():
            made.task.exception()
        for one in recruits:
            one.listening.close()


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES_S", (0.01, 0.02))


async def test_lines_are_passed_on_those_that_name_nobody_under_a_name() -> None:
    async with running(recruit("w.0"), recruit("w.1")) as made:
        await made.says("streams w.0: running")
        await made.says("streams w.1: running")
        await made.says("2026-11-27 INFO a line of a log", 2)
        await made.stop()


async def test_who_ends_is_started_again_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(recruit("w.0"), recruit("w.1")) as made:
        await made.says("streams w.0: running")
        await made.says("streams w.1: running")
        first, second = made.crew.hands
        assert first.process is not None
        first.process.kill()
        await made.says("streams w.0: running", 2)
        assert (first.starts, second.starts, first.failures, first.alive) == (2, 1, 1, True)
        assert "w.0 ended with -9; started again in 0.02 s" in caplog.text
        first.process.terminate()
        await made.says("streams w.0: running", 3)
        assert first.failures == 0
        await made.stop()


async def test_a_crew_that_is_stopped_ends_when_all_have() -> None:
    async with running(recruit("w.0"), recruit("w.1")) as made:
        await made.says("streams w.0: running")
        await made.says("streams w.1: running")
        await made.stop()
        assert [hand.code for hand in made.crew.hands] == [0, 0]
        assert [hand.starts for hand in made.crew.hands] == [1, 1]


async def test_a_crew_may_be_stopped_while_its_processes_are_being_started() -> None:
    async with running(recruit("w.0")) as made:
        await made.until(lambda: made.crew.hands[0].starts > 0)
        await made.stop()
        assert not made.crew.hands[0].failed


async def test_who_does_not_stop_is_killed_and_the_crew_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.1)
    async with running(recruit("w.0", DEAF), recruit("w.1")) as made:
        await made.says("streams w.0: running")
        await made.says("streams w.1: running")
        with pytest.raises(Halt, match=r"^w\.0 ended with -9$"):
            await made.stop()
    assert "w.0 does not stop within 0.1 s: killed" in caplog.text


async def test_a_usage_error_ends_the_crew_for_no_start_can_mend_it() -> None:
    async with running(recruit("w.0", "import sys; sys.exit(2)"), recruit("w.1")) as made:
        with pytest.raises(Misconfigured, match=r"w\.0 cannot be started"):
            await made.task
        assert not made.crew.hands[1].alive


async def test_who_fails_again_and_again_is_started_ever_more_seldom() -> None:
    async with running(recruit("w.0", "import sys; sys.exit(1)")) as made:
        await made.until(lambda: made.crew.hands[0].failures > 2)


async def test_a_long_line_and_bytes_that_are_no_text_are_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LINE_BYTES", 1_000)
    script = r"import os; os.write(2, b'x' * 5000 + b'\n\xff\nlast\n');" + IDLE
    async with running(recruit("w.0", script)) as made:
        await made.says("last")
        assert "\ufffd" in made.lines
        await made.stop()


async def test_a_process_learns_that_its_crew_is_gone(tmp_path: Path) -> None:
    told = tmp_path / "told"
    waiting = "import sys; print('here', file=sys.stderr, flush=True); sys.stdin.read(); "
    waiting += f"open({str(told)!r}, 'w').close()"
    crew = f"""
import asyncio, sys
from streams.ops.crew import Crew, Recruit
from streams.runtime.metrics_server import listen
one = Recruit("w.0", [sys.executable, "-c", {waiting!r}], listen("127.0.0.1", 0))
asyncio.run(Crew([one], lambda line: print(line, flush=True)).run())
"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", crew), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        assert await process.stdout.readline() == b"here\n"
        process.kill()
        await process.wait()
        while not told.exists():  # noqa: ASYNC110 - nobody waits for it
            await asyncio.sleep(0.01)


async def test_one_page_holds_the_series_of_all_each_with_its_process() -> None:
    async with serving(recruit("w.0", SERVING), recruit("w.1", SERVING)) as (made, page):
        text = (await page("/metrics")).body.decode()
        for name in ("w.0", "w.1"):
            assert f'streams_folded_total{{kind="view",process="{name}"}} 3.0' in text
            assert f'streams_crew_up{{process="{name}"}} 1.0' in text
            assert f'streams_crew_starts_total{{process="{name}"}} 1.0' in text
        assert text.count("# TYPE streams_folded_total counter") == 1
        await made.stop()


async def test_what_one_says_is_said_of_all_under_its_name() -> None:
    ready, halted = recruit("w.0", SERVING), recruit("w.1", SERVING, "partition 3 is halted")
    async with serving(ready, halted) as (made, page):
        assert (await page("/health")).status == HTTPStatus.OK
        answer = await page("/ready")
        assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
        assert b'["w.1: partition 3 is halted"]' in answer.body
        await made.stop()


async def test_who_is_down_is_not_ready_and_who_does_not_answer_is_not_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PAUSES_S", (60.0, 60.0))
    monkeypatch.setattr("streams.ops.crew_pages.ANSWER_S", 0.2)
    async with serving(recruit("w.0", SERVING), recruit("w.1", SERVING)) as (made, page):
        first, second = made.crew.hands
        assert first.process is not None
        assert second.process is not None
        first.process.kill()
        await made.until(lambda: first.code != 0)
        assert (await page("/health")).status == HTTPStatus.OK
        assert b'["w.0: is being started again, ended with -9"]' in (await page("/ready")).body
        second.process.send_signal(signal.SIGSTOP)
        assert (await page("/health")).status == HTTPStatus.OK  # it may be starting still
        monkeypatch.setattr(module, "START_S", 0.0)
        assert b'["w.1: does not answer"]' in (await page("/health")).body
        assert 'streams_crew_up{process="w.1"} 0.0' in (await page("/metrics")).body.decode()
        second.process.send_signal(signal.SIGCONT)
        with pytest.raises(StreamsError):
            await made.stop()


@asynccontextmanager
async def serving(
    *recruits: Recruit,
) -> AsyncIterator[tuple[Running, Callable[[str], "asyncio.Future[Page]"]]]:
    """Run a crew whose processes answer; what it gives asks for a page of the crew."""
    async with running(*recruits) as made:
        pages = CrewPages(made.crew).pages()
        loop = asyncio.get_running_loop()
        for one in recruits:
            await made.says(f"streams {one.name}: serving")
        yield made, lambda path: loop.run_in_executor(None, pages[path])
