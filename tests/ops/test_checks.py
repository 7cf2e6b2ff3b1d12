from collections.abc import Callable

from streams.core.state import FRESH, Changes
from streams.errors import Halt, Unreachable
from streams.ops.checks import attempt, check_counters, check_python, check_topics
from streams.ops.topics import Action, Step, Topic
from streams.runtime.memory import MemoryStore


def broken(error: Exception) -> Callable[..., None]:
    def action(*_: object) -> None:
        raise error

    return action


def test_this_python_is_new_enough() -> None:
    assert check_python().status == "ok"


def test_what_raises_fails_with_its_message_and_what_does_not_answer_says_so() -> None:
    assert attempt("x", broken(Halt("set it")), "") == ("fail", "x", "set it")
    assert attempt("x", broken(Unreachable("away")), "") == ("unreachable", "x", "away")
    assert attempt("x", lambda: None, "fine") == ("ok", "x", "fine")


def step(action: Action, why: str = "") -> Step:
    return Step(Topic("t", 1, 1, {}), action, {}, why)


def test_topics_fail_when_missing_or_in_conflict_and_warn_when_they_differ() -> None:
    checks = check_topics([step("ok"), step("create"), step("conflict", "c"), step("change", "d")])
    assert [check.status for check in checks] == ["fail", "fail", "warn"]
    assert "streams topics apply --yes" in checks[0].message


def test_topics_that_are_well_are_one_line() -> None:
    assert [check.status for check in check_topics([step("ok"), step("ok")])] == ["ok"]


async def test_counters_of_another_secret_fail_and_name_what_differs() -> None:
    store = MemoryStore()
    assert (await check_counters(store, "secret=a", 2)).status == "ok"
    await store.flush(1, "secret=b", -1, 0, Changes(0, {}, FRESH))
    assert (await check_counters(store, "secret=b", 2)).status == "ok"
    check = await check_counters(store, "secret=a", 2)
    assert check.status == "fail"
    assert "partition 1: its counters differ in secret (stored b, now a)" in check.message
