"""What a producer's lines hold, judged event by event."""

from streams.client.examples import EXAMPLES
from streams.client.lines import InputLine
from streams.client.validate import Validation
from streams.runtime.signing import encode

NOW_MS = 1_800_000_000_000
LIKE = encode(EXAMPLES[5])


def reasons_of(text: bytes, limit: int = 10_000) -> tuple[int, list[tuple[int, str]]]:
    validation = Validation(lambda: NOW_MS, limit)
    refused = list(validation.refusals(InputLine(7, text)))
    assert validation.invalid == len(refused)
    assert {one.line for one in refused} <= {7}
    return validation.valid, [(one.element, one.reason) for one in refused]


def test_an_event_is_valid_alone_and_in_an_array() -> None:
    assert reasons_of(LIKE) == (1, [])
    assert reasons_of(b" [" + LIKE + b" , " + LIKE + b"]") == (2, [])


def test_a_bad_element_is_named_and_loses_no_neighbour() -> None:
    assert reasons_of(b"[" + LIKE + b",1,{}," + LIKE + b"]") == (
        2,
        [(1, "not_object"), (2, "missing")],
    )


def test_what_is_no_line_of_events_is_refused_once() -> None:
    assert reasons_of(b"[]") == (0, [(0, "not_object")])
    assert reasons_of(b"[" + LIKE) == (0, [(0, "json")])
    assert reasons_of(b"[" + LIKE + b"]", limit=100) == (0, [(0, "too_large")])
