"""Settings: frozen, typed, validated once at the edge, the secret masked."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import msgspec
from msgspec import Meta

from streams.errors import Halt

Positive = Annotated[int, Meta(ge=1)]
TOPICS: Final = ("uploads", "recognitions", "reviews", "interactions", "decisions")
DEAD_LETTER_SUFFIX: Final = ".dlq"
# to the last @: a password that should have been escaped is covered as a whole
_PASSWORD: Final = re.compile(r"(://[^:@/]*:).*@")
_QUERY_PASSWORD: Final = re.compile(r"([?&]password=)[^&]*")


class Secret:
    """Bytes that sign control records and never show themselves."""

    __slots__ = ("reveal",)

    def __init__(self, text: str) -> None:
        self.reveal: Final = text.encode()

    def __repr__(self) -> str:
        return "Secret(***)"

    def __bool__(self) -> bool:
        return bool(self.reveal)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings; meaning, unit and default of each stand in `config/streams.toml`."""

    brokers: Annotated[str, Meta(min_length=1)]
    redis: Annotated[str, Meta(pattern=r"\A(redis|rediss|unix)://")]
    group: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{1,200}\Z")]
    topic_prefix: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9._-]{0,100}\Z")]
    generation_records: Positive
    partitions: Annotated[int, Meta(ge=1, le=10_000)]
    replication: Annotated[int, Meta(ge=1, le=32)]
    retention_hours: Positive
    flush_interval_ms: Positive
    flush_rows: Positive
    fetch_records: Positive
    videos_in_memory: Positive
    record_bytes: Positive
    session_timeout_ms: Annotated[int, Meta(ge=1_000)]
    audit_interval_ms: Positive
    metrics_port: Annotated[int, Meta(ge=0, le=65_535)]

    def topic(self, name: str) -> str:
        """Return the full name of one of `TOPICS`."""
        return f"{self.topic_prefix}{name}"

    @property
    def control_group(self) -> str:
        """The control plane's consumer group."""
        return f"{self.group}-control"

    def full_name(self, name: str) -> str:
        """Return the full name of a topic that a person names, without the prefix or with it.

        Names of `TOPICS` get the prefix also where they begin with the same letters.
        """
        own = name.removesuffix(DEAD_LETTER_SUFFIX) in TOPICS
        if not own and self.topic_prefix and name.startswith(self.topic_prefix):
            return name
        return self.topic(name)

    def dead_letters(self, name: str) -> str:
        """Return the dead letter topic of one of `TOPICS`."""
        return self.topic(name) + DEAD_LETTER_SUFFIX


def load_settings(
    folder: Path,
    overrides: Mapping[str, object] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Return the settings of `folder/streams.toml`, environment and `overrides` on top.

    `overrides` of None are left out. `Halt` with one line if the file, a key or a value is wrong.
    """
    path = folder / "streams.toml"
    values = read_toml(path)
    types = get_type_hints(Settings)
    for key in types:
        text = environment.get(f"STREAMS_{key.upper()}")
        if text is not None:
            values[key] = _number(text) if types[key] is not str else text
    values |= {key: value for key, value in (overrides or {}).items() if value is not None}
    try:
        return msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        raise Halt(f"{path}, or STREAMS_* over it: {error}; see the comments there") from None


def load_secret(environment: Mapping[str, str] = os.environ) -> Secret:
    """Return the secret that signs control records; `Halt` without one of 16 characters."""
    secret = Secret(environment.get("STREAMS_SECRET", ""))
    if len(secret.reveal) < 16:
        raise Halt(
            "STREAMS_SECRET is not set or shorter than 16 characters: "
            "set the same random text for every worker and control plane"
        )
    return secret


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's table; `Halt` with one line if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Halt(f"cannot read {path}: {error.strerror}; name its folder with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Halt(f"{path} is not valid TOML: {error}") from None


def shown(url: str) -> str:
    """Return an address as it may be printed: without its password.

    >>> shown("redis://app:hunter2@localhost:6379/0?db=1")
    'redis://app:***@localhost:6379/0?db=1'
    """
    return _QUERY_PASSWORD.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text
