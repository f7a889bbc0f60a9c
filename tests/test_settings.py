"""Where settings come from, and what is said about bad ones."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from questd.addresses import FORMS
from questd.settings import BadSetting, Settings, hidden, read, unknown_variables, user_data_dir


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("QUESTD_")]:
        monkeypatch.delenv(name)


def test_sources_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag goes before a variable, a variable before the file, the file before the default."""
    file = tmp_path / "questd.toml"
    file.write_text('host = "from.file"\nport = 1\nworkers = 2\n')
    monkeypatch.setenv("QUESTD_CONFIG", str(file))
    monkeypatch.setenv("QUESTD_PORT", "3")
    monkeypatch.setenv("QUESTD_WORKERS", "4")
    settings = read({"workers": "5"})
    assert (settings.workers, settings.port, settings.host, settings.region) == (5, 3, "from.file", "us-east-1")


def test_the_file_may_be_named_by_a_flag(tmp_path: Path) -> None:
    """The file that --config names is read."""
    file = tmp_path / "questd.toml"
    file.write_text("strict_aws = true\n")
    assert read({"config": str(file)}).strict_aws


def test_keys_in_a_file_that_others_can_read(tmp_path: Path) -> None:
    """A file of settings with access keys in it must be for its owner only; any other may be for everybody."""
    file = tmp_path / "questd.toml"
    file.write_text('port = 1\nkeys = "ID:a secret of some length"\n')
    file.chmod(0o640)
    with pytest.raises(BadSetting, match=r"questd\.toml has access keys .*: chmod 600") as raised:
        read({"config": str(file)})
    assert "a secret" not in str(raised.value)
    file.chmod(0o600)
    assert read({"config": str(file)}).keys == "ID:a secret of some length"
    file.write_text("port = 1\n")
    file.chmod(0o644)
    assert read({"config": str(file)}).port == 1


def test_the_file_may_declare_queues(tmp_path: Path) -> None:
    """Tables of queues stand beside the settings; they are none."""
    file = tmp_path / "questd.toml"
    file.write_text("port = 1\n[queues.orders]\nVisibilityTimeout = 1\n")
    assert read({"config": str(file)}).port == 1


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set to nothing, as in `${PORT:-}`, leaves the default."""
    monkeypatch.setenv("QUESTD_PORT", "")
    assert read({}).port == 9324


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("port", "65536", "--port should be less than or equal to 65535, not '65536'"),
        ("workers", "0", "--workers should be greater than or equal to 1, not '0'"),
        ("workers", "100000", "--workers should be less than or equal to 512, not '100000'"),
        ("host", "", "--host should have at least 1 character, not ''"),
        ("account", "12", "--account should be like 123456789012, not '12'"),
        ("account", "١٢٣٤٥٦٧٨٩٠١٢", "--account should be like 123456789012, not '١٢٣٤٥٦٧٨٩٠١٢'"),
        ("dead_letter_after", "-1", "--dead-letter-after should be like 0 or 2.5 or never, not '-1'"),
        ("dead_letter_after", "nan", "--dead-letter-after should be like 0 or 2.5 or never, not 'nan'"),
        ("dead_letter_after", "1e300", "--dead-letter-after should be like 0 or 2.5 or never, not '1e300'"),
        ("max_retention", "9" * 20, f"--max-retention should be less than or equal to 1000000000, not '{'9' * 20}'"),
        ("max_in_flight", "9" * 20, f"--max-in-flight should be less than or equal to 1000000000000, not '{'9' * 20}'"),
        ("max_messages", "9" * 20, f"--max-messages should be less than or equal to 1000000000000, not '{'9' * 20}'"),
        ("keys", "", "--keys should have at least 1 character"),
        ("maxmemory", "60%", "--maxmemory should be like 8gb, not '60%'"),
        ("public_url", "ftp://a", "--public-url should be like https://sqs.example.com, not 'ftp://a'"),
        ("log_level", "loud", "--log-level should be 'debug', 'info', 'warning' or 'error', not 'loud'"),
        ("console_port", "on", "--console-port should be like 9325 or 0 or off, not 'on'"),
        ("config", "/nowhere", "--config should be a file that exists, not '/nowhere'"),
    ],
)
def test_a_bad_value_is_told_in_one_line(name: str, value: str, line: str) -> None:
    """The line names the flag, what it takes and what was given."""
    with pytest.raises(BadSetting) as raised:
        read({name: value})
    assert str(raised.value) == line


def test_a_bad_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line about a bad variable names the variable."""
    monkeypatch.setenv("QUESTD_EPHEMERAL", "perhaps")
    with pytest.raises(BadSetting, match=r"^QUESTD_EPHEMERAL should be a valid boolean"):
        read({})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prot = 1", "prot in {} is no setting (did you mean port?)"),
        ("xyzzy = 1", "xyzzy in {} is no setting"),
        ("[queue.orders]", "queue in {} is no setting (did you mean queues?)"),
        ("prot = 1\n[queues.orders]", "prot in {} is no setting (did you mean port?)"),
        ("port = -1", "port in {} should be greater than or equal to 0, not -1"),
        ("port 1", "{}: Expected '=' after a key in a key/value pair (at line 1, column 6)"),
    ],
)
def test_a_bad_file_is_told_in_one_line(tmp_path: Path, text: str, line: str) -> None:
    """The line names the file, and the key or the place in it."""
    file = tmp_path / "questd.toml"
    file.write_text(text)
    with pytest.raises(BadSetting) as raised:
        read({"config": str(file)})
    assert str(raised.value) == line.format(file)


def test_unknown_variables_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A QUESTD_ variable that is no setting is found, one that is, is not."""
    monkeypatch.setenv("QUESTD_PROT", "1")
    monkeypatch.setenv("QUESTD_PORT", "1")
    assert unknown_variables() == ["QUESTD_PROT"]


@pytest.mark.parametrize(
    "url",
    [
        "redis://:zzz/zzz@host",
        "http://user:zzz@host",
        "redis://zzz:99999",
        "redis://host?zzz=red",
        "zzz",
        "redis+cluster://:zzz/zzz@host",
        "redis+sentinel://zzz",
    ],
)
def test_a_bad_redis_url_is_not_repeated(url: str) -> None:
    """A URL that cannot be used is described, never quoted: it may hold a password."""
    with pytest.raises(BadSetting, match=r"^--redis-url should be redis://") as raised:
        read({"redis_url": url})
    assert "zzz" not in str(raised.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "rediss://u:p@host:1/2?socket_timeout=3",
        "unix:///run/redis.sock?db=1",
        "redis+cluster://u:p@one:1,two:2",
        "rediss+sentinel://u:p@one,two/main/1?sentinel_password=x",
    ],
)
def test_redis_urls(url: str) -> None:
    """The kinds of Redis URL (test_addresses.py) are taken as they are, and never shown with the settings."""
    settings = read({"redis_url": url})
    assert settings.redis_url == url
    assert url not in repr(settings)


def test_passwords_are_hidden() -> None:
    """User and password of a URL, and passwords in its query, are hidden; the rest stays readable."""
    assert hidden("no redis://u:p@s@host:1/2?password=x&db=1!") == "no redis://***@host:1/2?password=***&db=1!"
    assert (
        hidden("redis+sentinel://u:p@a,b/m?sentinel_password=x") == "redis+sentinel://***@a,b/m?sentinel_password=***"
    )
    assert hidden(FORMS) == FORMS
    assert hidden("unix:///run/a.sock") == "unix:///run/a.sock"


def test_values_are_brought_into_one_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Paths are absolute with `~` resolved, URLs end without a slash, numbers are numbers."""
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = read({"data_dir": "~/data", "public_url": "https://sqs.example.com/", "dead_letter_after": "2.5"})
    assert settings.data_dir == tmp_path / "data"
    assert settings.public_url == "https://sqs.example.com"
    assert settings.dead_letter_after == 2.5
    assert read({"dead_letter_after": "never"}).dead_letter_after == "never"


def test_data_directory_of_each_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data is kept where Linux and macOS have a user's data; a relative XDG_DATA_HOME is ignored, as XDG says."""
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert user_data_dir() == Path("/data/questd")
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert user_data_dir() == Path("/home/me/.local/share/questd")
    monkeypatch.setattr("sys.platform", "darwin")
    assert user_data_dir() == Path("/home/me/Library/Application Support/questd")


def test_settings_do_not_change() -> None:
    """Settings are frozen: what one part has read, all parts have."""
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_every_setting_is_described() -> None:
    """Every setting has the text that --help shows."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
