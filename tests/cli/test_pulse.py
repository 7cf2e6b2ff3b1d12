"""Where a worker is asked how it stands: addresses as people write them."""

import click
import pytest

from streams.cli.pulse import LISTEN_ADDRESS


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),
        ("[::1]:9464", ("::1", 9464)),
        ("[::]:9464", ("::", 9464)),
        (":9464", ("::", 9464)),
        ("worker-0.local:1", ("worker-0.local", 1)),
    ],
)
def test_an_address_is_host_and_port(text: str, address: tuple[str, int]) -> None:
    assert LISTEN_ADDRESS.convert(text, None, None) == address


@pytest.mark.parametrize("text", ["9464", "127.0.0.1", "a:b", "a:65536", "::1:9464", "a:-1"])
def test_what_is_none_says_how_to_write_one(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"\[::"):
        LISTEN_ADDRESS.convert(text, None, None)
