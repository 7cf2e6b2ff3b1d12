"""Settings: topics as people name them, addresses as they are printed."""

from pathlib import Path

import pytest

from streams.settings import load_settings, shown

CONFIG = Path(__file__).parents[1] / "config"


@pytest.mark.parametrize(
    ("prefix", "name", "full"),
    [
        ("", "interactions", "interactions"),
        ("a.", "interactions", "a.interactions"),
        ("a.", "a.interactions", "a.interactions"),
        ("a.", "interactions.dlq", "a.interactions.dlq"),
        ("a.", "other", "a.other"),
        ("inter", "interactions", "interinteractions"),
        ("inter", "interactions.dlq", "interinteractions.dlq"),
    ],
)
def test_a_topic_is_named_without_the_prefix_or_with_it(prefix: str, name: str, full: str) -> None:
    settings = load_settings(CONFIG, {"topic_prefix": prefix}, {})
    assert settings.full_name(name) == full


@pytest.mark.parametrize(
    ("url", "printed"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:hunter2@localhost", "redis://:***@localhost"),
        ("rediss://app:hunter2@localhost/1", "rediss://app:***@localhost/1"),
        ("redis://app:hun@ter2/#?@localhost", "redis://app:***@localhost"),
        (
            "unix:///run/redis.sock?db=1&password=hunter2",
            "unix:///run/redis.sock?db=1&password=***",
        ),
        ("localhost:9092,localhost:9093", "localhost:9092,localhost:9093"),
    ],
)
def test_an_address_is_printed_without_its_password(url: str, printed: str) -> None:
    assert shown(url) == printed
