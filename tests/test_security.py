"""The table `[kafka]`: what it takes, what it refuses, and passwords that never show."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from kit.certificates import Authority

from streams.errors import Misconfigured
from streams.security import KafkaAddress, KafkaSecurity, given_security
from streams.settings import SHIPPED, Settings, environment_of, load_settings

PASSWORD = "p@ss, w=rd"
LOGIN = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanisms": "SCRAM-SHA-512",
    "sasl.username": "streams",
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def spelled(table: Mapping[str, object]) -> str:
    return "[kafka]\n" + "".join(f'"{key}" = "{value}"\n' for key, value in table.items())


def loaded(folder: Path, text: str, **environment: str) -> Settings:
    (folder / "streams.toml").write_text(text, "utf-8")
    named = {f"STREAMS_KAFKA_{name.upper()}": value for name, value in environment.items()}
    return load_settings(folder, {}, named)


def complaint(folder: Path, table: Mapping[str, object] | str, **environment: str) -> str:
    """Return the one line about a table that is wrong, without the place of its file."""
    text = table if isinstance(table, str) else spelled(table)
    with pytest.raises(Misconfigured) as refused:
        loaded(folder, text, **environment)
    assert "\n" not in str(refused.value)
    return str(refused.value).removeprefix(f"{folder / 'streams.toml'}: ")


def test_as_shipped_a_kafka_asks_for_nothing() -> None:
    settings = load_settings(SHIPPED, {}, {})
    assert settings.kafka == KafkaSecurity()
    assert settings.brokers == KafkaAddress("127.0.0.1:9092")
    assert (settings.kafka.has_tls, settings.kafka.has_login) == (False, False)
    assert settings.kafka.context() is None


def test_the_brokers_of_the_settings_bear_how_to_get_in(tmp_path: Path) -> None:
    settings = loaded(tmp_path, spelled(LOGIN), password=PASSWORD)
    assert settings.brokers.security == settings.kafka
    assert settings.kafka.password.reveal == PASSWORD
    assert str(settings.kafka) == "SASL_PLAINTEXT, SCRAM-SHA-512 as streams"


def test_names_with_dots_mean_the_same_without_quotation_marks(tmp_path: Path) -> None:
    bare = spelled(LOGIN).replace('"security.protocol"', "security.protocol")
    bare = bare.replace('"sasl.mechanisms"', "sasl.mechanisms")
    assert loaded(tmp_path, bare, password=PASSWORD) == loaded(
        tmp_path, spelled(LOGIN), password=PASSWORD
    )


def test_the_environment_overrides_a_key_of_the_table(tmp_path: Path) -> None:
    changes = {"sasl_username": "other", "sasl_mechanisms": "PLAIN", "password": PASSWORD}
    settings = loaded(tmp_path, spelled(LOGIN), **changes)
    assert (settings.kafka.username, settings.kafka.mechanism) == ("other", "PLAIN")


def test_the_password_may_stand_in_a_file_and_not_in_two_places(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text(f"{PASSWORD}\n", "utf-8")
    settings = loaded(tmp_path, spelled(LOGIN), password_file=str(path))
    assert settings.kafka.password.reveal == PASSWORD
    twice = complaint(tmp_path, LOGIN, password=PASSWORD, password_file=str(path))
    assert twice.startswith("STREAMS_KAFKA_PASSWORD_FILE and STREAMS_KAFKA_PASSWORD are both set")
    gone = complaint(tmp_path, LOGIN, password_file=str(tmp_path / "gone"))
    assert "which cannot be read: No such file" in gone


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"security.protocol": "SASL"},
            'kafka.security.protocol is "SASL": write one of PLAINTEXT, SASL_PLAINTEXT, SASL_',
        ),
        (
            {"sasl.mechanisms": "OAUTHBEARER"},
            'kafka.sasl.mechanisms is "OAUTHBEARER": write PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512;',
        ),
        (
            {"sasl.mechanism": "PLAIN"},
            "kafka.sasl.mechanism is not known: did you mean sasl.mechanisms?",
        ),
        ({"retries": 3}, "kafka.retries is not known: known are security.protocol, sasl.mechan"),
        ({"sasl.username": ""}, "kafka.sasl.username is missing: SASL_PLAINTEXT needs it"),
        (
            {"security.protocol": "PLAINTEXT"},
            "kafka.sasl.mechanisms is set, but security.protocol is PLAINTEXT",
        ),
        (
            {"ssl.ca.location": "/ca.pem"},
            "kafka.ssl.ca.location is set, but security.protocol is SASL_PLAINTEXT",
        ),
        ({"flush_rows": 3}, "kafka.flush_rows stands below [kafka]: write flush_rows above that"),
        (
            {"sasl.password": "hunter2"},
            "kafka.sasl.password does not belong into a file: set STREAMS_KAFKA_PASSWORD, or STRE",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_key(
    tmp_path: Path, changes: Mapping[str, object], line: str
) -> None:
    told = complaint(tmp_path, LOGIN | changes, password=PASSWORD)
    assert told.startswith(line)
    assert PASSWORD not in told
    assert "hunter2" not in told


def test_a_login_needs_a_password_and_a_password_needs_a_login(tmp_path: Path) -> None:
    how = "set STREAMS_KAFKA_PASSWORD, or STREAMS_KAFKA_PASSWORD_FILE"
    assert complaint(tmp_path, LOGIN) == (
        f"kafka.sasl.password is missing: SASL_PLAINTEXT needs it; {how}"
    )
    assert complaint(tmp_path, {}, password=PASSWORD) == (
        "kafka.sasl.password is set, but security.protocol is PLAINTEXT"
    )
    assert complaint(tmp_path, "kafka = 3\n").startswith("kafka is 3: write a table")


def test_a_wrong_variable_is_named_itself(tmp_path: Path) -> None:
    told = complaint(tmp_path, {}, security_protocol="TLS")
    assert told.startswith('STREAMS_KAFKA_SECURITY_PROTOCOL is "TLS": write one of PLAINTEXT')


def test_files_of_certificates_are_looked_at_before_anything_connects(
    tmp_path: Path, authority: Authority
) -> None:
    certificate, key = authority.client("worker")
    _, other = authority.client("other")
    _, locked = authority.client("locked", "secret of the key")
    text = tmp_path / "text.pem"
    text.write_text("no PEM")
    tls = {"security.protocol": "SSL", "ssl.ca.location": authority.ca}
    own = {"ssl.certificate.location": certificate, "ssl.key.location": key}
    context = loaded(tmp_path, spelled(tls | own)).kafka.context()
    assert context is not None
    assert context.check_hostname
    gone = complaint(tmp_path, tls | {"ssl.ca.location": "/gone.pem"})
    assert gone.endswith("names /gone.pem, which cannot be read: No such file or directory")
    told = complaint(tmp_path, tls | {"ssl.ca.location": text})
    assert told == f"kafka.ssl.ca.location names {text}, which holds no certificate (PEM)"
    alone = complaint(tmp_path, tls | {"ssl.certificate.location": certificate})
    assert alone.startswith("kafka.ssl.key.location is missing beside ssl.certificate.location")
    for wrong in (other, locked, text):
        told = complaint(tmp_path, tls | own | {"ssl.key.location": wrong})
        assert told.startswith(f"kafka.ssl.key.location names {wrong}, which is not the key of")


def test_a_locked_key_is_opened_by_its_password(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.client("guarded", "secret of the key")
    table = {
        "security.protocol": "SSL",
        "ssl.certificate.location": certificate,
        "ssl.key.location": key,
    }
    settings = loaded(tmp_path, spelled(table), key_password="secret of the key")
    assert settings.kafka.context() is not None
    assert "secret of the key" not in repr(settings)
    told = complaint(tmp_path, table, key_password="another")
    assert "or has another password" in told


def test_passwords_are_shown_nowhere(tmp_path: Path) -> None:
    settings = loaded(tmp_path, spelled(LOGIN), password=PASSWORD)
    for shown in (settings, settings.brokers, settings.kafka, settings.kafka.password):
        assert PASSWORD not in f"{shown} {shown!r}"


def test_another_process_gets_exactly_this(tmp_path: Path) -> None:
    settings = loaded(tmp_path, spelled(LOGIN), password=PASSWORD)
    assert load_settings(SHIPPED, {}, environment_of(settings, {})) == settings


def test_an_application_gives_its_password_in_the_table() -> None:
    security = given_security(LOGIN | {"sasl.password": PASSWORD})
    assert security.password.reveal == PASSWORD
    with pytest.raises(Misconfigured, match=r"security: sasl\.password is missing"):
        given_security(LOGIN)
    with pytest.raises(Misconfigured, match=r"security: sasl\.user is not known: did you mean"):
        given_security({"sasl.user": "a"})
    assert given_security({}) == KafkaSecurity()


def test_an_address_is_its_brokers_and_how_to_get_in() -> None:
    plain, secured = KafkaAddress("a:1, b:2"), KafkaAddress("a:1,b:2", KafkaSecurity("SSL"))
    assert plain.servers == secured.servers == ["a:1", "b:2"]
    assert plain == KafkaAddress("a:1,b:2")
    assert plain != secured
    assert len({plain, secured, KafkaAddress("a:1,b:2")}) == 2
    with pytest.raises(ValueError, match="no broker"):
        KafkaAddress(" , ")
