"""Every setting of questd: name, meaning, range and default; flags, QUESTD_* variables and the TOML file follow.

It owns where a value comes from and what is said about a bad one; it must not know what a setting is used for.
"""

import difflib
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource
from redis.exceptions import RedisError

from questd import addresses
from questd.addresses import FORMS

PREFIX = "QUESTD_"

LONGEST = 10**9
"""Seconds of the longest time that can be set: 31 years, which in milliseconds is still exact in Lua."""

MOST = 10**12
"""The most messages that can be set: beyond what any Redis holds, and exact in Lua."""

TABLES = frozenset({"queues"})
"""What the TOML file may hold beside settings (tables.py)."""

ENDPOINT = f"{PREFIX}ENDPOINT"
"""Where the command line finds a server: a variable that is no setting of one."""


class BadSetting(Exception):
    """A setting has no usable value; the text says which one, where it came from and what it should be."""


def user_data_dir() -> Path:
    """Return where this platform keeps a user's data of questd."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "questd"
    base = Path(os.environ.get("XDG_DATA_HOME", ""))
    # The XDG specification has a relative path ignored.
    return (base if base.is_absolute() else Path.home() / ".local" / "share") / "questd"


def cores() -> int:
    """Return on how many cores this process may run."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def hidden(text: str) -> str:
    """Return `text` with the user and password of every URL in it hidden."""
    text = re.sub(r"://(?!\[user:password@\])\S*@", "://***@", text)  # not what _redis_url says
    return re.sub(r"([?&]\w*password=)[^&\s]*", r"\1***", text)


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _file(path: Path) -> Path:
    if not path.is_file():
        raise PydanticCustomError("config", "should be a file that exists")
    return path


def _redis_url(url: str) -> str:
    try:
        addresses.read(url)
    except (TypeError, ValueError, OSError, RedisError):
        # Not redis-py's own text: it quotes the part of a password that stands before an unescaped "/".
        raise PydanticCustomError(
            "redis_url", "should be {forms}, with special characters of a password percent-encoded", {"forms": FORMS}
        ) from None
    return url


class _File(TomlConfigSettingsSource):
    """The settings in the TOML file."""

    def __call__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__call__().items() if name not in TABLES}


class Settings(BaseSettings):
    """The settings of one questd: those given here, then QUESTD_* variables, then the TOML file, then the defaults."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    config: Annotated[Path, AfterValidator(_file)] | None = Field(
        None, description="TOML file with settings, one `name = value` a line, and queues, a table [queues.NAME] each"
    )
    host: str = Field("127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(9324, ge=0, le=65535, description="TCP port to listen on; 0 takes any free one")
    console_port: Annotated[int, Field(ge=0, le=65535)] | Literal["off"] = Field(
        9325,
        examples=["9325", "0", "off"],
        description='TCP port of the console, /metrics and /health, on --host too; 0 takes any free one, "off" none',
    )
    redis_url: Annotated[str, AfterValidator(_redis_url)] | None = Field(
        None,
        repr=False,
        description="URL of the Redis to use: redis://, rediss:// or unix://, redis+cluster:// or redis+sentinel://",
    )
    workers: int = Field(
        default_factory=cores, ge=1, le=512, description="processes that answer, 1 to 512; one per core by default"
    )
    front: Literal["listener", "aiohttp"] = Field(
        "listener",
        description="the HTTP server: listener (questd's own) or aiohttp (aiohttp's, for twice the CPU)",
    )
    data_dir: Annotated[Path, AfterValidator(_absolute)] = Field(
        default_factory=user_data_dir, description="directory where the private Redis keeps its data"
    )
    ephemeral: bool = Field(default=False, description="keep nothing on disk (private Redis only)")
    maxmemory: str | None = Field(
        None,
        pattern=r"^(?i:[1-9][0-9]*([kmg]b?|b)?)$",
        examples=["8gb"],
        description='memory the private Redis may use, e.g. "8gb"; none: 60 % of the RAM',
    )
    durability: Literal["everysec", "always", "replicated"] = Field(
        "everysec",
        description="when a send, receive or delete is answered: everysec (it is done, and on disk a second later), "
        "always (it is on disk) or replicated (--replicas have it)",
    )
    replicas: int = Field(
        1, ge=1, description="how many replicas must have what is answered, with --durability replicated"
    )
    public_url: Annotated[str, AfterValidator(lambda url: url.rstrip("/"))] | None = Field(
        None,
        pattern=r"^https?://[^\s/?#]+(/[^\s?#]*)?$",
        examples=["https://sqs.example.com"],
        description="URL that queue URLs begin with; none: the host that the client used",
    )
    region: str = Field("us-east-1", pattern=r"^[a-z0-9-]+$", examples=["us-east-1"], description="AWS region in ARNs")
    account: str = Field(
        "000000000000", pattern=r"^[0-9]{12}$", examples=["123456789012"], description="AWS account in ARNs, 12 digits"
    )
    max_message_size: int = Field(
        2**20, ge=1024, le=2**26, description="bytes of a message, and of a batch, at most; as on AWS by default"
    )
    max_retention: int = Field(
        14 * 24 * 3600,
        ge=60,
        le=LONGEST,
        description="seconds that a queue may keep its messages at most; as on AWS by default",
    )
    max_in_flight: int = Field(
        120_000, ge=1, le=MOST, description="messages of a queue in flight at most, as on AWS by default"
    )
    max_messages: int | None = Field(
        None,
        ge=1,
        le=MOST,
        description="messages of a queue at most, in flight and delayed ones too; none: no limit, as on AWS",
    )
    max_connections: int = Field(
        10_000, ge=1, description="connections that each worker serves at most; any more get a 503 and are closed"
    )
    max_requests: int = Field(
        5_000, ge=1, description="requests that each worker answers at a time; any more get a 503, RequestThrottled"
    )
    max_waiting: int = Field(
        10_000, ge=1, description="long polls that wait at each worker at most; any more get a 503, RequestThrottled"
    )
    max_buffered: int = Field(
        2**28,
        ge=2**20,
        description="bytes that each worker keeps of unfinished requests and of unread answers; it refuses what is "
        "beyond, but never all large requests: one of the largest has room",
    )
    max_header_size: int = Field(2**16, ge=4096, description="bytes of a request's line and headers at most")
    max_headers: int = Field(128, ge=16, description="headers of a request at most")
    multi_region: bool = Field(
        default=False,
        description="keep the queues of each region and account apart; a request's signature or host says which",
    )
    dead_letter_after: Annotated[float, Field(ge=0, le=LONGEST, allow_inf_nan=False)] | Literal["never"] = Field(
        2.0,
        examples=["0", "2.5", "never"],
        description="seconds from a message's last timeout to its move to the dead-letter queue, 0 or more; "
        '"never" leaves it to the next receive, as on AWS',
    )
    strict_aws: bool = Field(
        default=False,
        description="as slow as AWS: 60 s after DeleteQueue and between purges, dead-lettering only on a receive",
    )
    test_mode: bool = Field(
        default=False, description="let tests move the clock and ask for chaos: POST /_questd/clock, /_questd/chaos"
    )
    anonymous: bool = Field(default=False, description="serve anyone, also beyond this machine")
    keys_file: Annotated[Path, AfterValidator(_file)] | None = Field(
        None,
        description="TOML file of access keys, a table for each id with its secret, account and rights; then every "
        "request must be signed, or a queue's policy must allow it",
    )
    keys: str | None = Field(
        None, min_length=1, repr=False, description="more access keys: id:secret,id:secret, with all rights"
    )
    tls_cert: Annotated[Path, AfterValidator(_file)] | None = Field(
        None, description="PEM file with the certificate, and those above it, to serve HTTPS with"
    )
    tls_key: Annotated[Path, AfterValidator(_file)] | None = Field(
        None, description="PEM file with the certificate's key; none: it is in --tls-cert"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least severe log lines to show: debug, info, warning or error"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="log lines as text for people, or json: one JSON object a line"
    )
    access_log: bool = Field(
        default=False, description="log a line for each request: who asked for what, and what came of it; never a body"
    )

    @property
    def attribute_limits(self) -> dict[str, int]:
        """Return the highest value of queue attributes that have a setting for it."""
        return {"MaximumMessageSize": self.max_message_size, "MessageRetentionPeriod": self.max_retention}

    @classmethod
    def settings_customise_sources(  # noqa: D102  # pydantic-settings' own
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = (env_settings() | init_settings()).get("config")
        return init_settings, env_settings, _File(settings_cls, path)


def flag(name: str) -> str:
    """Return the flag of the setting `name`."""
    return f"--{name.replace('_', '-')}"


def variable(name: str) -> str:
    """Return the environment variable of the setting `name`."""
    return PREFIX + name.upper()


def unknown_variables() -> list[str]:
    """Return the names of the QUESTD_* variables that are no setting."""
    known = {ENDPOINT, *map(variable, Settings.model_fields)}
    return sorted(name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)


def read(flags: Mapping[str, Any]) -> Settings:
    """Return the settings, `flags` (field name → value) before all other sources. Raises BadSetting."""
    config = flags.get("config") or os.environ.get(variable("config"))
    try:
        found = Settings(**flags)
        if found.config:
            _check_mode(found.config)
    except ValidationError as error:
        by_name = {str(detail["loc"][0]): detail for detail in error.errors()}
        problems = [_problem(name, detail, flags, config) for name, detail in by_name.items()]
        raise BadSetting("; ".join(problems)) from None
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSetting(f"{config}: {error}") from None
    return found


def _check_mode(config: Path) -> None:
    """Refuse a file with access keys that others can read, as one of --keys-file is."""
    if config.stat().st_mode & 0o077 and "keys" in tomllib.loads(config.read_text()):
        raise BadSetting(f"{config} has access keys and can be read by others than its owner: chmod 600 {config}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the question after a name that is close to a known one, '' after any other."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _problem(name: str, detail: ErrorDetails, flags: Mapping[str, Any], config: object) -> str:
    if detail["type"] == "extra_forbidden":
        return f"{name} in {config} is no setting{did_you_mean(name, [*Settings.model_fields, *TABLES])}"
    if name in flags:
        origin = flag(name)
    else:
        origin = variable(name) if os.environ.get(variable(name)) else f"{name} in {config}"
    value = "" if name in {"redis_url", "keys"} else f", not {detail['input']!r}"
    return f"{origin} {_wish(name, detail)}{value}"


def _wish(name: str, detail: ErrorDetails) -> str:
    examples = Settings.model_fields[name].examples
    if examples:
        return f"should be like {' or '.join(examples)}"
    return re.sub(r"^\w+ should", "should", detail["msg"])
