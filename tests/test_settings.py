"""Settings: four layers, secrets that never show, and errors that say what to write."""

import re
from pathlib import Path

import pytest
from redis.asyncio import Redis

from streams.errors import Misconfigured
from streams.settings import (
    SHIPPED,
    VARIABLES,
    RedisAddress,
    beside,
    default_folder,
    environment_of,
    given_secret,
    load_settings,
    shown,
    unknown_variables,
    written_settings,
)

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config"
SECRET = "0123456789abcdef"


def complaint(folder: Path = CONFIG, **environment: str) -> str:
    """Return the one line about settings that are wrong."""
    named = {f"STREAMS_{name.upper()}": text for name, text in environment.items()}
    with pytest.raises(Misconfigured) as refused:
        load_settings(folder, {}, named)
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder with settings that change two keys alone."""
    (tmp_path / "streams.toml").write_text("\ufeffflush_rows = 7\nfetch_records = 8\n", "utf-8")
    return tmp_path


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text("p@ss/w:rd\n", "utf-8")
    return str(path)


def test_a_later_layer_wins_and_what_a_folder_leaves_out_is_as_shipped(mine: Path) -> None:
    environment = {"STREAMS_FETCH_RECORDS": "9", "STREAMS_BROKERS": "b:1"}
    settings = load_settings(mine, {"brokers": "c:1", "redis": None}, environment)
    assert (settings.flush_rows, settings.fetch_records) == (7, 9)
    assert str(settings.brokers) == "c:1"
    assert settings.partitions == load_settings(SHIPPED, {}, {}).partitions
    written = written_settings(mine, {"brokers": "c:1"}, environment)
    places = {key: (written[key].origin, written[key].place) for key in written}
    assert places["flush_rows"] == ("file", str(mine / "streams.toml"))
    assert places["fetch_records"] == ("environment", "STREAMS_FETCH_RECORDS")
    assert places["brokers"] == ("option", "--brokers")
    assert places["partitions"] == ("default", "shipped")


@pytest.mark.parametrize(
    ("key", "text", "line"),
    [
        (
            "partitions",
            "many",
            'STREAMS_PARTITIONS is "many": write a whole number from 1 to 10000',
        ),
        (
            "metrics_port",
            "-1",
            'STREAMS_METRICS_PORT is "-1": write a whole number from 0 to 65535',
        ),
        ("topic_prefix", "a b", 'STREAMS_TOPIC_PREFIX is "a b": write letters, digits, . _ -'),
        ("redis", "http://app:hunter2@h", 'STREAMS_REDIS is "http://app:***@h": write redis://'),
        ("redis", ":hunter2@h", 'STREAMS_REDIS is "***@h": write redis://HOST:PORT/DB'),
        (
            "redis",
            "redis://app:hun/ter2@h:1",
            'STREAMS_REDIS is "redis://app:***@h:1": write redis',
        ),
        ("brokers", "", 'STREAMS_BROKERS is "": write HOST:PORT, more after commas'),
    ],
)
def test_a_wrong_variable_says_what_to_write(key: str, text: str, line: str) -> None:
    assert complaint(**{key: text}).startswith(line)


def test_a_wrong_file_is_named_with_the_key(tmp_path: Path) -> None:
    path = tmp_path / "streams.toml"
    path.write_text("flush_rows = true\nflush_rowz = 3\n", "utf-8")
    with pytest.raises(Misconfigured) as refused:
        load_settings(tmp_path, {}, {})
    assert refused.value.problems == (
        f"{path}: flush_rowz is not known: did you mean flush_rows?",
        f"{path}: flush_rows is true: write a whole number from 1 on",
    )
    path.write_bytes(b'brokers = "\xff"')
    assert complaint(tmp_path) == f"{path} is not UTF-8 at byte 11: save it so"
    path.write_text("a = [", "utf-8")
    assert complaint(tmp_path).startswith(f"{path} is not valid TOML")
    path.unlink()
    assert complaint(tmp_path).startswith(f"cannot read {path}: No such file")


@pytest.mark.parametrize(
    ("environment", "group"),
    [
        ({}, "streams"),
        ({"STREAMS_TOPIC_PREFIX": "a."}, "a.streams"),
        ({"STREAMS_TOPIC_PREFIX": "a.", "STREAMS_GROUP": "mine"}, "mine"),
    ],
)
def test_two_prefixes_share_no_group(environment: dict[str, str], group: str) -> None:
    assert load_settings(CONFIG, {}, environment).group == group


def test_clients_are_named_after_role_and_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.settings.gethostname", lambda: "host-7")
    settings = load_settings(CONFIG, {}, {"STREAMS_CLIENT_ID": "shop"})
    assert settings.client("feedback") == "shop-feedback-host-7"


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("redis://h:7000/2", (None, "h", 7000, 2)),
        ("redis://app@h/1", ("app", "h", 6379, 1)),
        ("rediss://app@h", ("app", "h", 6379, 0)),
    ],
)
def test_the_password_of_redis_may_stand_in_a_file(
    password_file: str, url: str, login: tuple[object, ...]
) -> None:
    environment = {"STREAMS_REDIS": url, "STREAMS_REDIS_PASSWORD_FILE": password_file}
    settings = load_settings(CONFIG, {}, environment)
    assert "p@ss" not in f"{settings} {settings.redis} {settings.redis!r}"
    options = Redis.from_url(settings.redis.reveal).connection_pool.connection_kwargs
    assert options["password"] == "p@ss/w:rd"
    named = (options.get("username"), options["host"], options.get("port", 6379))
    assert (*named, options.get("db", 0)) == login


def test_a_socket_takes_the_password_too(password_file: str) -> None:
    environment = {
        "STREAMS_REDIS": "unix:///run/redis.sock?db=1",
        "STREAMS_REDIS_PASSWORD_FILE": password_file,
    }
    settings = load_settings(CONFIG, {}, environment)
    options = Redis.from_url(settings.redis.reveal).connection_pool.connection_kwargs
    assert (options["path"], options["password"]) == ("/run/redis.sock", "p@ss/w:rd")


def test_two_passwords_are_one_too_many(password_file: str, tmp_path: Path) -> None:
    twice = complaint(redis="redis://:hunter2@h", redis_password_file=password_file)
    named = "STREAMS_REDIS_PASSWORD_FILE and the password in STREAMS_REDIS are both set"
    assert twice == f"{named}: remove one of them"
    gone = complaint(redis_password_file=str(tmp_path / "gone"))
    assert "which cannot be read: No such file" in gone
    (tmp_path / "empty").write_text("\n", "utf-8")
    assert "which is empty" in complaint(redis_password_file=str(tmp_path / "empty"))


def test_the_secret_of_old_comes_from_a_variable_or_a_file_and_not_from_both(
    tmp_path: Path,
) -> None:
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n", "utf-8")
    for environment in ({"STREAMS_SECRET_FILE": str(path)}, {"STREAMS_SECRET": SECRET}):
        given = given_secret(environment)
        assert given is not None
        assert given.reveal == SECRET.encode()
    with pytest.raises(Misconfigured, match="STREAMS_SECRET_FILE and STREAMS_SECRET are both set"):
        given_secret({"STREAMS_SECRET": SECRET, "STREAMS_SECRET_FILE": str(path)})
    path.write_text("short", "utf-8")
    with pytest.raises(Misconfigured, match="STREAMS_SECRET_FILE holds a text shorter than 16"):
        given_secret({"STREAMS_SECRET_FILE": str(path)})
    assert given_secret({"STREAMS_SECRET": ""}) is None
    assert given_secret({}) is None


def test_another_process_gets_exactly_these_settings_and_no_keys(
    mine: Path, password_file: str
) -> None:
    environment = {
        "STREAMS_REDIS": "redis://h/1",
        "STREAMS_REDIS_PASSWORD_FILE": password_file,
        "STREAMS_SECRET": SECRET,
        "STREAMS_SIGNING_KEY_FILE": "/nowhere",
        "PATH": "/bin",
    }
    settings = load_settings(mine, {"topic_prefix": "a."}, environment)
    child = environment_of(settings, environment)
    assert child["PATH"] == "/bin"
    assert load_settings(CONFIG, {}, child) == settings
    assert not {"STREAMS_SECRET", "STREAMS_SIGNING_KEY_FILE"} & child.keys()


def test_a_misspelt_variable_is_named_with_the_right_one() -> None:
    environment = {"STREAMS_TYPO": "1", "STREAMS_FLUSH_ROW": "2", "STREAMS_TEST_REDIS": "3"}
    assert unknown_variables(environment) == [
        "STREAMS_FLUSH_ROW has no meaning: did you mean STREAMS_FLUSH_ROWS?",
        "STREAMS_TYPO has no meaning: `streams config show` lists all settings",
    ]


def test_every_variable_that_the_source_names_is_known() -> None:
    names = {
        name
        for path in sorted((ROOT / "streams").rglob("*.py"))
        for name in re.findall(r"\bSTREAMS_[A-Z]+(?:_[A-Z]+)*\b", path.read_text("utf-8"))
    }
    assert names - {"STREAMS_TEST", "STREAMS_BROKER"} <= VARIABLES


def test_settings_of_the_current_folder_come_before_the_shipped_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_folder() == SHIPPED
    (tmp_path / "config").mkdir()
    assert default_folder() == SHIPPED
    (tmp_path / "config/streams.toml").touch()
    assert default_folder() == Path("config")


def test_a_password_of_redis_may_stand_in_a_variable() -> None:
    environment = {
        "STREAMS_REDIS": "rediss+cluster://app@h:1,i:2",
        "STREAMS_REDIS_PASSWORD": "p@ss",
    }
    settings = load_settings(CONFIG, {}, environment)
    assert settings.redis.parts.login == ("app", "p@ss")
    assert "p@ss" not in f"{settings} {settings.redis!r}"
    twice = {**environment, "STREAMS_REDIS": "redis://:hunter2@h"}
    with pytest.raises(Misconfigured, match="STREAMS_REDIS_PASSWORD and the password in STREAMS_"):
        load_settings(CONFIG, {}, twice)


def test_the_password_of_sentinels_is_another_one(password_file: str) -> None:
    environment = {
        "STREAMS_REDIS": "redis+sentinel://app@s:1/main",
        "STREAMS_REDIS_PASSWORD": "one",
        "STREAMS_REDIS_SENTINEL_PASSWORD_FILE": password_file,
    }
    settings = load_settings(CONFIG, {}, environment)
    assert settings.redis.parts.login == ("app", "one")
    assert settings.redis.parts.sentinels == (None, "p@ss/w:rd")
    assert str(settings.redis) == "redis+sentinel://app:***@s:1/main?sentinel_password=***"
    child = environment_of(settings, environment)
    assert load_settings(CONFIG, {}, child).redis == settings.redis
    for url in ("redis://h", "redis+sentinel://s/main?sentinel_password=x"):
        with pytest.raises(Misconfigured, match="only an address of sentinels without a password"):
            load_settings(
                CONFIG, {}, {"STREAMS_REDIS": url, "STREAMS_REDIS_SENTINEL_PASSWORD": "x"}
            )


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("h:6379", "it begins with none of"),
        ("http://h", "it begins with none of"),
        ("redis://h:port", "a port is no number"),
        ("redis://h:0", "a port is no number"),
        ("redis://h/x", "the database is no number"),
        ("redis://h,i", "several hosts are redis"),
        ("unix://", "it names no path"),
        ("redis+cluster://h/1", "a cluster has no database but 0"),
        ("redis+sentinel://h:1", "it does not name the master"),
        ("redis+sentinel://h:1/main/x", "the database is no number"),
        ("redis://h?ssl_ca_certs=/ca.pem", "of options it knows db, password, username alone"),
        ("rediss://h?ssl_cert_reqs=none", "of options it knows"),
        ("rediss://h?ssl_check_hostname=no", "ssl_check_hostname is true or false"),
        ("redis://app:hun/ter2@h:1", "number"),
        ("redis://app:hun#ter2@h:1", "it begins with none of"),
    ],
)
def test_what_is_no_address_of_a_redis_is_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        RedisAddress(url)
    assert "is no address of a Redis" in str(refused.value)
    assert "ter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "kind", "tls", "hosts"),
    [
        ("redis://", "single", False, [("localhost", 6_379)]),
        ("redis+cluster://h:1,i", "cluster", False, [("h", 1), ("i", 6_379)]),
        ("rediss+cluster://u:p@[::1]:7", "cluster", True, [("::1", 7)]),
        ("redis+sentinel://s,t:5/main/3", "sentinel", False, [("s", 26_379), ("t", 5)]),
        ("rediss+sentinel://s/main", "sentinel", True, [("s", 26_379)]),
    ],
)
def test_an_address_says_what_kind_of_redis_it_is(
    url: str, kind: str, tls: bool, hosts: list[tuple[str, int]]
) -> None:
    parts = RedisAddress(url).parts
    assert (parts.kind, parts.tls, list(parts.hosts)) == (kind, tls, hosts)
    assert (parts.service, parts.database) == (
        ("main", 3 if "/3" in url else 0) if kind == "sentinel" else ("", 0)
    )


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


def test_the_same_pipeline_beside_has_other_topics_partitions_and_another_redis() -> None:
    mine = load_settings(CONFIG, {"topic_prefix": "a."}, {})
    other = beside(mine, 64, "b.", "redis://there:6379/1", {})
    assert (other.partitions, other.topic("uploads"), other.group) == (64, "b.uploads", "b.streams")
    assert (str(other.redis), other.brokers) == ("redis://there:6379/1", mine.brokers)
    named = load_settings(CONFIG, {"group": "feedback"}, {})
    password = {"STREAMS_REDIS_PASSWORD": "hunter2"}
    assert beside(named, 64, "b.", "redis://there/1", {}).group == "feedback"
    assert beside(named, 64, "b.", "redis://there/1", password).redis.has_password


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ((64, "b b", "redis://there/1"), "--to-prefix"),
        ((64, "b.", "there"), "--to-redis"),
    ],
)
def test_a_place_beside_that_is_none_is_told(where: tuple[int, str, str], what: str) -> None:
    with pytest.raises(Misconfigured, match=what):
        beside(load_settings(CONFIG, {}, {}), *where, {})
