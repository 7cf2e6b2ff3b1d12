"""`streams policy`: its words, and what it refuses; what it shows is tested where it runs."""

import pytest
from kit.command import streams


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("pin",), "give the number of a policy, or --off"),
        (("pin", "3.1", "--off"), "give the number of a policy, or --off"),
        (("freeze",), "Missing argument 'NAME...'"),
        (("diff", "3.1"), "Missing argument 'AFTER'"),
        (("history", "--limit", "0"), "0 is not in the range x>=1"),
    ],
)
def test_wrong_usage_says_what_is_wanted(words: tuple[str, ...], says: str) -> None:
    done = streams("policy", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr


def test_without_a_key_nothing_is_ordered() -> None:
    done = streams("policy", "freeze", "prices", "--yes", signing_key_file="")
    assert done.returncode == 2
    assert "STREAMS_SIGNING_KEY_FILE is not set" in done.stderr


def test_without_a_broker_it_says_so() -> None:
    done = streams("policy", "show", brokers="127.0.0.1:1")
    assert (done.returncode, done.stdout) == (4, "")
    assert len(done.stderr.strip().splitlines()) == 1
