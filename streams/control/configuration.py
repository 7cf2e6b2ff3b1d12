"""A configuration folder as a whole: its files by the loaders that a worker uses, and a copy.

`streams config check` and `streams doctor` share the check, so what passes here starts.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar

from streams.control.admission.review import ReviewGate
from streams.control.admission.taxonomy import Taxonomy
from streams.control.policy.catalogue import Catalogue
from streams.control.policy.file import PolicyRules
from streams.errors import Halt, Misconfigured
from streams.runtime.key_files import given_signing_key
from streams.security import PASSWORDS
from streams.settings import (
    SHIPPED,
    SIGNING_KEY_FILE,
    Settings,
    Written,
    exposed_key_file,
    given_secret,
    load_settings,
    unknown_variables,
)

T = TypeVar("T")

RULES: Final = ("taxonomy.toml", "slices.toml", "policy.toml", "review.toml")
"""Files of the rules, each after those that it refers to."""


def file_problems(folder: Path) -> dict[str, tuple[str, ...]]:
    """Return the problems of each file of `RULES`, one line each, none where it is well.

    A file whose problems hide behind another's says which one to mend first.
    """
    problems: dict[str, tuple[str, ...]] = dict.fromkeys(RULES, ())

    def load(name: str, loader: Callable[[Path], T]) -> T | None:
        try:
            return loader(folder / name)
        except Misconfigured as error:
            problems[name] = tuple(error.problems)
            return None

    taxonomy = load("taxonomy.toml", Taxonomy.from_toml)
    if taxonomy is None:
        later = RULES[1:]
        return problems | {name: _waits(folder / name, "taxonomy.toml") for name in later}
    load("review.toml", lambda path: ReviewGate.from_toml(path, taxonomy))
    catalogue = load("slices.toml", lambda path: Catalogue.from_toml(path, taxonomy))
    if catalogue is None:
        return problems | {"policy.toml": _waits(folder / "policy.toml", "slices.toml")}
    load("policy.toml", lambda path: PolicyRules.from_toml(path, catalogue))
    return problems


class Finding(NamedTuple):
    """One line of a check: `subject` is a file, a key, or `environment`."""

    subject: str
    status: Literal["ok", "warn", "fail"]
    message: str


def findings(folder: Path, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Yield at least one line for each file, the keys, and what looks like a misspelt name."""
    yield from _judged("streams.toml", lambda: load_settings(folder, None, environment), "valid")
    for name, problems in file_problems(folder).items():
        for problem in problems:
            yield Finding(name, "fail", problem)
        if not problems:
            yield Finding(name, "ok", "valid")
    key = "set" if environment.get(SIGNING_KEY_FILE) else "not set: a control plane needs it"
    yield from _judged("signing key", lambda: given_signing_key(environment), key)
    if environment.get("STREAMS_SECRET") or environment.get("STREAMS_SECRET_FILE"):
        well = "set, for what 0.1.0 signed"
        yield from _judged("secret", lambda: given_secret(environment), well)
    for line in exposed_key_file(environment):
        yield Finding("signing key", "warn", line)
    for line in unknown_variables(environment):
        yield Finding("environment", "warn", line)


def _judged(subject: str, load: Callable[[], object], well: str) -> Iterator[Finding]:
    try:
        load()
    except Misconfigured as error:
        for problem in error.problems:
            yield Finding(subject, "fail", problem)
    else:
        yield Finding(subject, "ok", well)


class SettingRow(NamedTuple):
    """A setting in force: its value without secrets, the layer and the place it comes from."""

    key: str
    value: str | int
    origin: str
    place: str


_SECRETS: Final = {
    "STREAMS_SECRET": "secret",
    "STREAMS_SECRET_FILE": "secret",
    SIGNING_KEY_FILE: "signing key",
    "STREAMS_REDIS_PASSWORD": "redis password",
    "STREAMS_REDIS_PASSWORD_FILE": "redis password",
    "STREAMS_REDIS_SENTINEL_PASSWORD": "sentinel password",
    "STREAMS_REDIS_SENTINEL_PASSWORD_FILE": "sentinel password",
    **{
        f"{variable}{end}": f"kafka.{key}"
        for key, variable in PASSWORDS.items()
        for end in ("", "_FILE")
    },
}


def in_force(
    settings: Settings, written: Mapping[str, Written], environment: Mapping[str, str] = os.environ
) -> Iterator[SettingRow]:
    """Yield every setting in the order of their file, then the secrets that are given."""
    for key, (value, origin, place) in written.items():
        shown = getattr(settings, key, value)  # a key of [kafka] is shown as it is written
        yield SettingRow(key, shown if isinstance(shown, int) else str(shown), origin, place)
    for variable, key in _SECRETS.items():
        if environment.get(variable):
            yield SettingRow(key, "***", "environment", variable)


def copy_shipped(folder: Path) -> list[Path]:
    """Write the shipped configuration into `folder`; return the files.

    `Halt` without having written anything if one of them exists, or the folder cannot be made.
    """
    targets = [folder / source.name for source in sorted(SHIPPED.glob("*.toml"))]
    there = [path for path in targets if path.exists()]
    if there:
        raise Halt(f"{there[0]} exists and is left alone: name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in targets:
            path.write_bytes((SHIPPED / path.name).read_bytes())
    except OSError as error:
        raise Halt(f"cannot write into {folder}: {error.strerror}") from None
    return targets


def _waits(path: Path, first: str) -> tuple[str, ...]:
    return (f"{path}: cannot be checked before {first} is mended",)
