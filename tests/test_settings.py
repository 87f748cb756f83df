"""Sources of settings, their order, and errors of invalid settings."""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import get_type_hints

import pytest

from kiai.errors import KiaiError
from kiai.server_settings import SettingOrigin, Settings
from kiai.settings import BadSettings, load_settings
from kiai.settings_declaration import SettingsDeclaration
from kiai.settings_pages import settings_sample


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and an environment without KIAI_* variables."""
    for name in list(os.environ):
        if name.upper().startswith("KIAI_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(**flags: object) -> str:
    with pytest.raises(BadSettings) as refused:
        load_settings(**flags)
    return str(refused.value)


# --- where they come from -------------------------------------------------------------------------------------------


def test_no_setting_is_required() -> None:
    settings = load_settings()

    assert (settings.data, settings.host, settings.port, settings.domain) == (
        Path("data"),
        "127.0.0.1",
        8080,
        "localhost",
    )
    assert (settings.database, settings.files, settings.upstream_url, settings.trusted_proxy) == (None, None, None, ())
    assert (settings.rate_limits, settings.log, settings.bonus_pp, settings.loved_counts) == (
        True,
        "json",
        "official",
        False,
    )
    assert settings.workers_pp >= 1


def test_file_overrides_the_default(folder: Path) -> None:
    (folder / "kiai.toml").write_text('port = 1\ntitle = "Club"\n')

    assert (load_settings().port, load_settings().title) == (1, "Club")


def test_environment_overrides_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "kiai.toml").write_text('port = 1\ntitle = "Club"\n')
    monkeypatch.setenv("KIAI_PORT", "2")

    assert (load_settings().port, load_settings().title) == (2, "Club")


def test_flag_overrides_the_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "kiai.toml").write_text("port = 1\n")
    monkeypatch.setenv("KIAI_PORT", "2")

    assert load_settings(port=3).port == 3


def test_each_setting_says_where_its_value_comes_from_and_what_it_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "kiai.toml").write_text('port = 1\ntitle = "Club"\n')
    monkeypatch.setenv("KIAI_PORT", "2")
    monkeypatch.setenv("KIAI_DOMAIN", "club.example")
    monkeypatch.setenv("KIAI_DATA", "world")

    settings = load_settings(port=3, data=Path("world"))

    found = {origin.name: origin for origin in settings.origins}
    assert list(found) == list(SettingsDeclaration.model_fields)
    assert {name: (found[name].source, found[name].place) for name in ("port", "domain", "title", "host", "data")} == {
        "port": ("flag", "--port"),
        "domain": ("environment", "KIAI_DOMAIN"),
        "title": ("file", "kiai.toml"),
        "host": ("default", ""),
        "data": ("environment", "KIAI_DATA"),
    }
    assert found["country_change_days"] == SettingOrigin(
        "country_change_days",
        "default",
        "",
        "Time between two changes of the country by a player on the website.",
        "days",
    )


def test_missing_flag_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIAI_PORT", "2")
    monkeypatch.setenv("KIAI_TRUSTED_PROXY", "10.0.0.0/8")

    settings = load_settings(port=None, trusted_proxy=[])

    assert (settings.port, settings.trusted_proxy) == (2, ("10.0.0.0/8",))


def test_empty_variable_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIAI_DATABASE", "")
    monkeypatch.setenv("KIAI_CONFIG", "")

    assert load_settings().database is None


def test_kiai_config_names_another_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "other.toml").write_text("port = 4\n")
    (folder / "kiai.toml").write_text("port = 1\n")
    monkeypatch.setenv("KIAI_CONFIG", str(folder / "other.toml"))

    assert load_settings().port == 4


@pytest.mark.parametrize(("text", "expected"), [("off", False), ("on", True), ("false", False), ("1", True)])
def test_rate_limits_accept_on_and_off(text: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIAI_RATE_LIMITS", text)

    assert load_settings().rate_limits is expected


@pytest.mark.parametrize("text", ["10.0.0.0/8,fd00::/8", " 10.0.0.0/8, fd00::/8 ", "10.0.0.0/8 fd00::/8"])
def test_list_in_the_environment_is_separated_by_commas_or_spaces(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIAI_TRUSTED_PROXY", text)

    assert load_settings().trusted_proxy == ("10.0.0.0/8", "fd00::/8")


def test_list_in_the_file_is_a_toml_list(folder: Path) -> None:
    (folder / "kiai.toml").write_text('trusted_proxy = ["10.0.0.0/8", "127.0.0.1"]\n')

    assert [ip_network(text).prefixlen for text in load_settings().trusted_proxy] == [8, 32]


@pytest.mark.parametrize(
    "name", ["KIAI_TESTING", "KIAI_FAILPOINTS", "KIAI_PYTHON", "KIAI_SHARED_DATA", "OTHER_KIAI_PORT"]
)
def test_known_variables_that_are_not_settings_are_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")

    assert load_settings().port == 8080


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("s3://bucket", "s3://bucket"),
        ("s3://my-bucket.v2/a/b/", "s3://my-bucket.v2/a/b/"),
        ("/srv/files/", "/srv/files"),
        ("files", "files"),
        ("s3", "s3"),
    ],
)
def test_files_can_be_in_a_folder_or_a_bucket(place: str, expected: str) -> None:
    assert load_settings(files=place).files == expected


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_both_schemes_of_postgresql_are_accepted(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIAI_DATABASE", f"{scheme}://kiai:postgres://@db:5432/kiai")

    assert load_settings().database == "postgresql://kiai:postgres://@db:5432/kiai"


def test_settings_are_immutable() -> None:
    with pytest.raises(AttributeError, match="immutable"):
        load_settings().port = 1  # type: ignore[misc]


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"port": "abc"}, "port must be a whole number from 0 to 65535, got 'abc' (--port)"),
        ({"port": 65_536}, "port must be a whole number from 0 to 65535, got 65536 (--port)"),
        ({"port": True}, "port must be a whole number from 0 to 65535, got True (--port)"),
        ({"rate_limits": "maybe"}, "rate_limits must be on or off, got 'maybe' (--rate-limits)"),
        ({"log": "xml"}, "log must be one of json, text, got 'xml' (--log)"),
        ({"bonus_pp": ""}, "bonus_pp must be one of official, legacy, got '' (--bonus-pp)"),
        ({"workers_pp": 0}, "workers_pp must be a whole number from 1 to 256, got 0 (--workers-pp)"),
        ({"files": "gs://bucket"}, "files must be a folder, or a bucket like s3://bucket/prefix, got 'gs://bucket'"),
        *(
            ({"files": place}, "files must be a folder, or a bucket like s3://bucket/prefix, got ")
            for place in (
                "s3://",
                "s3:///prefix",
                "s3:/bucket",
                "s3://b",
                "s3://bucket?versioning=on",
                "s3://bucket#x",
                "s3://user:key@bucket/prefix",
                "s3://bucket:9000/prefix",
                "S3://bucket",
                "file:///srv/files",
                "https://s3.example/bucket",
                "az://bucket",
                "a\0b",
            )
        ),
        ({"data": "s3://bucket"}, "data must be a folder, got 's3://bucket' (--data)"),
        ({"data": Path("s3://bucket")}, "data must be a folder, got "),
        ({"domain": "https://x.y"}, "domain must be a domain in lower case, without scheme or port"),
        ({"domain": "x.y\n"}, "domain must be"),
        ({"host": "a b"}, "host must be an address or a host name, got 'a b' (--host)"),
        ({"title": "a\nb"}, "title must be 1 to 64 characters, got 'a\\nb' (--title)"),
        ({"bot_name": "x"}, "bot_name must be 2 to 15 characters of"),
        ({"upstream_url": "ftp://x"}, "upstream_url must be a URL that begins with http:// or https://, got 'ftp://x'"),
        ({"upstream_url": "http://[x"}, "upstream_url must be a URL that begins with http:// or https://"),
        ({"upstream_url": "https://"}, "upstream_url must be a URL that begins with http:// or https://"),
        ({"database_replica": "postgresql://h/x"}, "database_replica must be empty, unless database is set, got"),
        ({"database": "mysql://h/x"}, "database must be a URL like postgresql://user:password@host:5432/name, got"),
        ({"trusted_proxy": ["10.0.0.1/8"]}, "trusted_proxy must be networks like 10.0.0.0/8, separated by commas, got"),
        (
            {"trusted_proxy": "proxy"},
            "trusted_proxy must be networks like 10.0.0.0/8, separated by commas, got 'proxy'",
        ),
    ],
)
def test_error_for_an_invalid_value_names_the_allowed_values_and_the_source(
    flags: dict[str, object], expected: str
) -> None:
    assert expected in refusal(**flags)


def test_error_for_an_invalid_variable_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIAI_PORT", "http")

    assert refusal() == "port must be a whole number from 0 to 65535, got 'http' (environment variable KIAI_PORT)"


def test_error_for_an_invalid_value_in_the_file_names_file_and_line(folder: Path) -> None:
    (folder / "kiai.toml").write_text('# the club\ntitle = "Club"\n\nport = "http"\n')

    assert refusal() == "port must be a whole number from 0 to 65535, got 'http' (kiai.toml, line 4)"


def test_all_invalid_settings_are_reported_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "kiai.toml").write_text('log = "xml"\n')
    monkeypatch.setenv("KIAI_PORT", "http")

    with pytest.raises(KiaiError) as refused:
        load_settings(host=" ")

    assert isinstance(refused.value, BadSettings)
    assert sorted(problem.split()[0] for problem in refused.value.problems) == ["host", "log", "port"]


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("prot", "port"), ("trusted-proxy", "trusted_proxy"), ("API_RATE_PER_MIN", "api_rate_per_minute")],
)
def test_unknown_key_in_the_file_is_rejected_with_the_most_similar_one(key: str, nearest: str, folder: Path) -> None:
    (folder / "kiai.toml").write_text(f"port = 1\n{key} = 1\n")

    assert refusal() == f"unknown setting '{key}' (kiai.toml, line 2); did you mean {nearest}?"


def test_section_in_the_file_is_an_unknown_key(folder: Path) -> None:
    (folder / "kiai.toml").write_text("\n[server]\nport = 1\n")

    assert refusal().startswith("unknown setting 'server' (kiai.toml, line 2)")


def test_unknown_variable_is_rejected_with_the_most_similar_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIAI_DATABSE", "x")

    assert refusal() == "unknown environment variable KIAI_DATABSE; did you mean KIAI_DATABASE?"


def test_unknown_variable_without_a_similar_one_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIAI_XYZZY", "x")

    assert refusal() == "unknown environment variable KIAI_XYZZY"


def test_malformed_toml_is_rejected_with_the_line(folder: Path) -> None:
    (folder / "kiai.toml").write_text("port = 1\ntitle = Club\n")

    message = refusal()

    assert message.startswith("kiai.toml is not TOML: ")
    assert "line 2" in message


def test_file_that_is_not_utf_8_is_rejected(folder: Path) -> None:
    (folder / "kiai.toml").write_bytes(b'title = "\xff"\n')

    assert refusal().startswith("kiai.toml cannot be read: ")


def test_missing_file_of_kiai_config_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIAI_CONFIG", "missing.toml")

    assert refusal() == "KIAI_CONFIG names 'missing.toml', which is not a file"


@pytest.mark.parametrize("network", ["0.0.0.0/0", "::/0", "10.0.0.0/8,0.0.0.0/0"])
def test_trusted_proxy_for_all_addresses_requires_allow_any_proxy(network: str) -> None:
    assert "allow_any_proxy" in refusal(trusted_proxy=network)

    assert network.endswith(load_settings(trusted_proxy=network, allow_any_proxy=True).trusted_proxy[-1])


# --- secrets --------------------------------------------------------------------------------------------------------

SECRETS = {
    "upstream_key": "hunter2",
    "database": "postgresql://kiai:hunter2@db:5432/kiai?sslpassword=hunter2&x=1",
    "upstream_url": "https://kiai:hunter2@mirror.example/a@b",
}


def test_repr_masks_secrets() -> None:
    settings = load_settings(**SECRETS)

    assert {name: getattr(settings, name) for name in SECRETS} == SECRETS
    for words in (repr(settings), str(settings), f"{settings}"):
        assert "hunter2" not in words
        assert "db:5432/kiai" in words


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("upstream_key", ["hunter2"]),
        ("database", "mysql://kiai:hunter2@db/kiai"),
        ("database", "kiai:hunter2@db/kiai"),
        ("database", "postgresql://kiai:hunter2\n@"),
        ("upstream_url", "ftp://kiai:hunter2@mirror"),
    ],
)
def test_error_masks_secrets(name: str, value: object) -> None:
    with pytest.raises(BadSettings) as refused:
        load_settings(**{name: value})

    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


# --- the sample -----------------------------------------------------------------------------------------------------


def test_unchanged_sample_file_has_only_defaults(folder: Path) -> None:
    without = load_settings()

    (folder / "kiai.toml").write_text(settings_sample())

    assert load_settings() == without


def test_every_example_of_the_sample_file_is_valid(folder: Path) -> None:
    uncommented = "\n".join(
        line[1:] for line in settings_sample().splitlines() if line.startswith("#") and line[1] != " "
    )
    (folder / "kiai.toml").write_text(uncommented)

    settings = load_settings()

    assert SettingsDeclaration().model_fields_set == set(SettingsDeclaration.model_fields)
    assert settings.port == 80


# --- the server process -----------------------------------------------------------------------------------------------


def test_typed_settings_have_the_fields_and_types_of_the_declarations() -> None:
    declared = {name: get_type_hints(SettingsDeclaration)[name] for name in SettingsDeclaration.model_fields}

    assert get_type_hints(Settings) == {**declared, "origins": tuple[SettingOrigin, ...]}


def test_server_process_receives_every_setting(tmp_path: Path) -> None:
    settings = load_settings(data=tmp_path, port=1, mirrors="https://a.example,https://b.example", upstream_key="key")

    assert Settings.from_json(settings.to_json()) == settings
