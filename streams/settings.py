"""Settings: frozen, typed, validated once at the edge, secrets masked.

Each key is looked up in four layers, the later ones win: the configuration that is shipped, the
folder's `streams.toml`, the environment, the options of the command line.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from socket import gethostname
from typing import Annotated, Any, Final, Literal, NamedTuple, get_type_hints

import msgspec
from msgspec import Meta

from streams.addresses import RedisAddress, shown
from streams.errors import Misconfigured
from streams.security import (
    KEYS,
    PASSWORDS,
    KafkaAddress,
    KafkaSecurity,
    Password,
    mistakes,
    password_of,
)
from streams.shapes import nearest, problems

Positive = Annotated[int, Meta(ge=1)]
TOPICS: Final = ("uploads", "recognitions", "reviews", "interactions", "decisions", "traffic")
PUBLISHED: Final = TOPICS[:4]
"""The topics that producers write."""
DEAD_LETTER_SUFFIX: Final = ".dlq"
SHIPPED: Final = Path(__file__).with_name("config")
"""The configuration that comes with the program; in a checkout a link to its `config/`."""
SECRET_CHARACTERS: Final = 16
"""The fewest that a signing secret of 0.1.0 may have."""
SIGNING_KEY_FILE: Final = "STREAMS_SIGNING_KEY_FILE"
"""Names the file of the private key: for the control plane and for people who sign."""
REDIS_PASSWORDS: Final = ("STREAMS_REDIS_PASSWORD", "STREAMS_REDIS_SENTINEL_PASSWORD")
"""Hold the passwords for Redis and for its sentinels; with `_FILE` each names a file of it."""


class Secret:
    """Bytes that signed control records in 0.1.0 and never show themselves."""

    __slots__ = ("reveal",)

    def __init__(self, text: str) -> None:
        self.reveal: Final = text.encode()

    def __repr__(self) -> str:
        return "Secret(***)"

    def __bool__(self) -> bool:
        return bool(self.reveal)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings; meaning, unit and default of each stand in `config/streams.toml`."""

    brokers: Annotated[KafkaAddress, Meta(description="HOST:PORT, more after commas")]
    redis: Annotated[
        RedisAddress,
        Meta(
            description="redis://HOST:PORT/DB, redis+cluster://HOST:PORT,HOST:PORT, "
            "redis+sentinel://HOST:PORT,HOST:PORT/MASTER/DB, rediss in place of redis with TLS "
            "(?ssl_ca_certs=PATH, &ssl_certfile=PATH&ssl_keyfile=PATH), or unix:///PATH; "
            "in a password / is %2F, @ is %40, : is %3A"
        ),
    ]
    group: Annotated[
        str,
        Meta(pattern=r"\A[A-Za-z0-9._-]{0,200}\Z", description="letters, digits, . _ -, up to 200"),
    ]
    instance: Annotated[
        str,
        Meta(pattern=r"\A[A-Za-z0-9._-]{0,200}\Z", description="letters, digits, . _ -, up to 200"),
    ]
    client_id: Annotated[
        str,
        Meta(pattern=r"\A[A-Za-z0-9._-]{1,100}\Z", description="letters, digits, . _ -, up to 100"),
    ]
    topic_prefix: Annotated[
        str,
        Meta(pattern=r"\A[A-Za-z0-9._-]{0,100}\Z", description="letters, digits, . _ -, up to 100"),
    ]
    generation_records: Positive
    partitions: Annotated[int, Meta(ge=1, le=10_000)]
    replication: Annotated[int, Meta(ge=1, le=32)]
    retention_hours: Positive
    flush_interval_ms: Positive
    flush_rows: Positive
    fetch_records: Positive
    videos_in_memory: Positive
    archive_days: Annotated[int, Meta(ge=0, le=36_500)]
    record_bytes: Positive
    session_timeout_ms: Annotated[int, Meta(ge=1_000)]
    audit_interval_ms: Positive
    stuck_after_ms: Annotated[int, Meta(ge=0)]
    metrics_host: Annotated[
        str,
        Meta(
            pattern=r"\A[A-Za-z0-9._:%-]{1,253}\Z",
            description="an IP address or a host's name: 127.0.0.1, or 0.0.0.0 or :: for all",
        ),
    ]
    metrics_port: Annotated[int, Meta(ge=0, le=65_535)]
    snapshots: str
    kafka: KafkaSecurity

    def topic(self, name: str) -> str:
        """Return the full name of one of `TOPICS`."""
        return f"{self.topic_prefix}{name}"

    @property
    def control_group(self) -> str:
        """The control plane's consumer group."""
        return f"{self.group}-control"

    @property
    def keeper_group(self) -> str:
        """The consumer group whose owner of partition 0 leads the control planes."""
        return f"{self.group}-keeper"

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

    def client(self, role: str) -> str:
        """Return what brokers call the clients of one role on this host in logs and quotas."""
        return f"{self.client_id}-{role}-{gethostname()}"


_KAFKA: Final = {
    f"kafka.{key}": f"STREAMS_KAFKA_{key.replace('.', '_').upper()}"
    for key in KEYS
    if key not in PASSWORDS
}
"""Keys of the table `[kafka]` that may stand in a file, and their variables."""
_TYPES: Final = {key: kind for key, kind in get_type_hints(Settings).items() if key != "kafka"}
VARIABLES: Final = frozenset(
    {
        "STREAMS_CONFIG",
        "STREAMS_SECRET",
        "STREAMS_SECRET_FILE",
        SIGNING_KEY_FILE,
        *(f"{name}{end}" for name in REDIS_PASSWORDS for end in ("", "_FILE")),
        *(f"{variable}{end}" for variable in PASSWORDS.values() for end in ("", "_FILE")),
        *_KAFKA.values(),
        *(f"STREAMS_{key.upper()}" for key in _TYPES),
    }
)
"""Every variable of the environment that means something."""

Origin = Literal["default", "file", "environment", "option"]
"""The layer that a value comes from."""


class Written(NamedTuple):
    """A value as someone wrote it; `place` is a file, a variable, an option, or `shipped`."""

    value: object
    origin: Origin
    place: str


def load_settings(
    folder: Path,
    overrides: Mapping[str, object] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Return the settings in force: the layers of `written_settings`, validated.

    `Misconfigured` with one line a problem if the file, a key or a value is wrong.
    """
    return settings_of(written_settings(folder, overrides, environment), environment)


def written_settings(
    folder: Path,
    overrides: Mapping[str, object] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> dict[str, Written]:
    """Return what is written for each key, by the layer that wins; nothing is validated.

    Keys of the table `[kafka]` begin with `kafka.`. `overrides` are the command line's options,
    those of None are left out. `Misconfigured` if a file cannot be read.
    """
    path = folder / "streams.toml"
    mine = read_toml(path)
    written = {
        key: Written(value, "default", "shipped")
        for key, value in _flat(read_toml(SHIPPED / "streams.toml")).items()
    }
    if folder.resolve() != SHIPPED.resolve():
        written |= {key: Written(value, "file", str(path)) for key, value in _flat(mine).items()}
    for key, variable in _KAFKA.items():
        if (text := environment.get(variable)) is not None:
            written[key] = Written(text, "environment", variable)
    for key in _TYPES:
        variable = f"STREAMS_{key.upper()}"
        if (text := environment.get(variable)) is not None:
            written[key] = Written(_number(key, text), "environment", variable)
        if (value := (overrides or {}).get(key)) is not None:
            written[key] = Written(value, "option", f"--{key.replace('_', '-')}")
    return written


def settings_of(
    written: Mapping[str, Written], environment: Mapping[str, str] = os.environ
) -> Settings:
    """Return validated settings; the environment may hold passwords, or name files that do."""
    values = {key: each.value for key, each in written.items() if not key.startswith("kafka.")}
    values.setdefault("kafka", _table(written, environment))
    wrong = problems(values, Settings, _made)
    if wrong:
        raise Misconfigured(*(_told(str(key), what, written) for key, what in wrong))
    settings = msgspec.convert(values, Settings, dec_hook=_made)
    if unfit := list(mistakes(settings.kafka)):
        chosen = {key: each for key, each in written.items() if each.origin != "default"}
        raise Misconfigured(*(_told(f"kafka.{key}", what, chosen) for key, what in unfit))
    changes: dict[str, object] = {"brokers": KafkaAddress(str(settings.brokers), settings.kafka)}
    if not settings.group:
        changes["group"] = f"{settings.topic_prefix}streams"
    changes["redis"] = _logging_in(settings.redis, written["redis"].place, environment)
    return msgspec.structs.replace(settings, **changes)


def beside(
    settings: Settings,
    partitions: int,
    topic_prefix: str,
    redis: str,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Return the settings of the same pipeline on other topics and another Redis.

    `Misconfigured` if these are wrong.
    """
    changes: dict[str, object] = {
        "partitions": partitions,
        "topic_prefix": topic_prefix,
        "redis": redis,
    }
    values = {name: getattr(settings, name) for name in Settings.__struct_fields__} | changes
    texts = values | {"brokers": str(settings.brokers), "kafka": {}}
    if wrong := problems(texts, Settings, _made):
        raise Misconfigured(
            *(f"--to-{str(key).removeprefix('topic_')} {what}" for key, what in wrong)
        )
    address = _logging_in(RedisAddress(redis), "--to-redis", environment)
    own = settings.group == f"{settings.topic_prefix}streams"
    group = f"{topic_prefix}streams" if own else settings.group
    return msgspec.structs.replace(settings, **{**changes, "redis": address, "group": group})


def _logging_in(address: RedisAddress, place: str, environment: Mapping[str, str]) -> RedisAddress:
    """Return the address with the passwords that the environment holds."""
    variable, of_sentinels = REDIS_PASSWORDS
    if password := _given_text(variable, environment):
        if address.has_password:
            raise _twice(_set_of(variable, environment), f"the password in {place}")
        address = address.with_password(password)
    if password := _given_text(of_sentinels, environment):
        try:
            address = address.with_sentinel_password(password)
        except ValueError as error:
            raise Misconfigured(
                f"{of_sentinels} is set, and {place} is no match: {error}"
            ) from None
    return address


def _flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a file's keys, those of `[kafka]` by their path: TOML splits a name that has dots."""
    flat = {key: value for key, value in table.items() if key != "kafka"}
    waiting = [("kafka", table["kafka"])] if "kafka" in table else []
    while waiting:
        path, value = waiting.pop(0)
        if isinstance(value, Mapping):
            waiting += [(f"{path}.{key}", held) for key, held in value.items()]
        else:
            flat[path] = value
    return flat


def _table(written: Mapping[str, Written], environment: Mapping[str, str]) -> dict[str, object]:
    """Return the table `[kafka]` with its passwords, which no file may hold."""
    begin = "kafka."
    table = {
        key.removeprefix(begin): each.value
        for key, each in written.items()
        if key.startswith(begin)
    }
    for key in table.keys() & _TYPES.keys():
        what = f"stands below [kafka]: write {key} above that line"
        raise Misconfigured(_told(f"{begin}{key}", what, written))
    for key, variable in PASSWORDS.items():
        if key in table:
            what = f"does not belong into a file: set {variable}, or {variable}_FILE"
            raise Misconfigured(_told(f"{begin}{key}", what, written))
        if text := _given_text(variable, environment):
            table[key] = text
    return table


def _told(key: str, what: str, written: Mapping[str, Written]) -> str:
    """Return one line about a key: a file is named with the key, a variable stands for it."""
    if key not in written:
        return f"{key} {what}"
    _, origin, place = written[key]
    named = f"{place}: {key}" if origin in ("default", "file") else place
    return f"{named} {what}"


def _made(kind: type, value: Any) -> RedisAddress | KafkaAddress | Password:
    if kind is RedisAddress and isinstance(value, str):
        return RedisAddress(value)
    if kind is KafkaAddress and isinstance(value, str):
        return KafkaAddress(value)
    return password_of(kind, value)


def given_secret(environment: Mapping[str, str] = os.environ) -> Secret | None:
    """Return the secret of STREAMS_SECRET, or of the file in STREAMS_SECRET_FILE; None without.

    Control records that 0.1.0 signed with it count below an `upgrade` record.
    `Misconfigured` if it is too short, cannot be read, or both are set.
    """
    secret = Secret(_given_text("STREAMS_SECRET", environment))
    if secret and len(secret.reveal) < SECRET_CHARACTERS:
        raise Misconfigured(
            f"{_set_of('STREAMS_SECRET', environment)} holds a text shorter than "
            f"{SECRET_CHARACTERS} characters: give the one that 0.1.0 signed with"
        )
    return secret or None


def exposed_key_file(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return a line if others than its owner may read the private key's file, [] if not."""
    path = environment.get(SIGNING_KEY_FILE)
    if not path:
        return []
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return []  # whoever needs it says so
    if not mode & 0o077:
        return []
    return [f"{path} can be read by others than its owner: run `chmod 600 {path}`"]


def environment_of(
    settings: Settings, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Return the environment in which another process of ours has exactly these settings.

    Secrets and keys are left out, but for the passwords of Redis and Kafka.
    """
    theirs = {name: text for name, text in environment.items() if name not in VARIABLES}
    ours = {f"STREAMS_{key.upper()}": str(getattr(settings, key)) for key in _TYPES}
    table = msgspec.to_builtins(settings.kafka, enc_hook=lambda password: password.reveal)
    kafka = {variable: table[key.removeprefix("kafka.")] for key, variable in _KAFKA.items()}
    passwords = {variable: table[key] for key, variable in PASSWORDS.items()}
    return theirs | ours | kafka | passwords | {"STREAMS_REDIS": settings.redis.reveal}


def unknown_variables(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return one line for each `STREAMS_…` that means nothing: most likely it is misspelt.

    A warning and no error: an orchestrator sets such names for a service called `streams`, and a
    newer version may know more of them. The names of the tests are let through.

    >>> unknown_variables({"STREAMS_BROKER": "kafka:9092", "STREAMS_SECRET": "", "HOME": "/"})
    ['STREAMS_BROKER has no meaning: did you mean STREAMS_BROKERS?']
    """
    strange = [
        name
        for name in sorted(environment)
        if name.startswith("STREAMS_")
        and name not in VARIABLES
        and not name.startswith("STREAMS_TEST_")
    ]
    return [
        f"{name} has no meaning: "
        f"{nearest(name, VARIABLES) or '`streams config show` lists all settings'}"
        for name in strange
    ]


def default_folder() -> Path:
    """Return `config` where the current folder has settings in it, else what is shipped."""
    here = Path("config")
    return here if (here / "streams.toml").is_file() else SHIPPED


def read_toml(path: Path, hint: str = "name its folder with --config") -> dict[str, Any]:
    """Return a TOML file's table; `Misconfigured` with one line if it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}; {hint}") from None
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{path} is not UTF-8 at byte {error.start}: save it so") from None
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path} is not valid TOML: {error}") from None


def _from_file(variable: str, environment: Mapping[str, str]) -> str:
    """Return the text of the file that a variable names, without line ends; "" if it names none."""
    path = environment.get(variable)
    if not path:
        return ""
    try:
        text = Path(path).read_text(encoding="utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise Misconfigured(f"{variable} names {path}, which cannot be read: {why}") from None
    if not text:
        raise Misconfigured(f"{variable} names {path}, which is empty: write the text into it")
    return text


def _given_text(variable: str, environment: Mapping[str, str]) -> str:
    """Return what a variable holds, or the file that it names with `_FILE`; "" for neither."""
    text = environment.get(variable, "")
    kept = _from_file(f"{variable}_FILE", environment)
    if text and kept:
        raise _twice(f"{variable}_FILE", variable)
    return text or kept


def _set_of(variable: str, environment: Mapping[str, str]) -> str:
    """Return which of the two is set."""
    return variable if environment.get(variable) else f"{variable}_FILE"


def _twice(variable: str, other: str) -> Misconfigured:
    return Misconfigured(f"{variable} and {other} are both set: remove one of them")


def _number(key: str, text: str) -> int | str:
    """Return a variable's text as its key wants it: a whole number where it is one."""
    whole = text.isascii() and text.isdigit() and len(text) < 20
    return int(text) if whole and _TYPES[key] is int else text


__all__ = [
    "DEAD_LETTER_SUFFIX",
    "SHIPPED",
    "SIGNING_KEY_FILE",
    "TOPICS",
    "VARIABLES",
    "KafkaAddress",
    "KafkaSecurity",
    "Origin",
    "RedisAddress",
    "Secret",
    "Settings",
    "Written",
    "default_folder",
    "environment_of",
    "exposed_key_file",
    "given_secret",
    "load_settings",
    "read_toml",
    "settings_of",
    "shown",
    "unknown_variables",
    "written_settings",
]
