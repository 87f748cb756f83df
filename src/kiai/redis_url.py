"""The URL of the setting `state`: which Redis servers it names, and how to reach them.

| form | server |
|---|---|
| `redis://[USER:PASSWORD@]HOST[:PORT][/DB]` | one Redis |
| `rediss://...` | the same with TLS |
| `unix://[USER:PASSWORD@]/PATH[?db=DB]` | one Redis on this machine, through its socket |
| `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],.../SERVICE[/DB]` | the primary that Sentinels name |
| `rediss+sentinel://...` | the same with TLS, to the Sentinels and to the primary |
| `redis+cluster://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],...` | a Redis Cluster, of which these are some nodes |
| `rediss+cluster://...` | the same with TLS |

The names in the query are those of redis-py.
"""

import re
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

PORT: Final = 6379
SENTINEL_PORT: Final = 26379
SERVICE: Final = "mymaster"
"""The service in the configuration that comes with Sentinel."""
HOSTS_MAX: Final = 16
"""Sentinels or nodes that a URL names."""
FORMS: Final = (
    "a URL like redis://host:6379/0, rediss://host:6379/0, unix:///path/of/redis.sock, "
    "redis+sentinel://host:26379,host:26379/mymaster or redis+cluster://host:6379,host:6379"
)
TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS: Final = (*TLS_FILES, "ssl_cert_reqs", "ssl_check_hostname")
_OF_SENTINEL: Final = ("sentinel_username", "sentinel_password")
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]{1,253})(?::([0-9]{1,5}))?")
_SERVICE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DATABASE: Final = re.compile(r"[0-9]{1,4}")
_FLAGS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class RedisAddress(msgspec.Struct, frozen=True):
    """The content of a URL.

    `hosts` is the server, the Sentinels if there is a `service`, or nodes of a `cluster`; it is empty with a `path`,
    which is a socket.
    `files` are paths by their names in `TLS_FILES`.
    """

    hosts: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    service: str | None = None
    cluster: bool = False
    database: int = 0
    username: str | None = None
    password: str | None = None
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    tls: bool = False
    verified: bool = True
    checks_name: bool = True
    files: dict[str, str] = {}


def parse_redis_url(url: str) -> RedisAddress:
    """Return what the URL says. Raises ValueError with the allowed values, which complete "must be"."""
    parts = urlsplit(url)
    scheme, _, kind = parts.scheme.partition("+")
    if (scheme, kind) not in {
        ("redis", ""),
        ("rediss", ""),
        ("unix", ""),
        ("redis", "sentinel"),
        ("rediss", "sentinel"),
        ("redis", "cluster"),
        ("rediss", "cluster"),
    }:
        raise ValueError(FORMS)
    tls, by_sentinel, cluster = scheme == "rediss", kind == "sentinel", kind == "cluster"
    known = ("db", *(_TLS if tls else ()), *(_OF_SENTINEL if by_sentinel else ()))
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(query) - set(known)):
        needs_tls = "; the others need rediss://" if set(unknown) <= set(_TLS) else ""
        raise ValueError(f"a URL whose query has only {', '.join(known)}{needs_tls}")
    login, _, place = parts.netloc.rpartition("@")
    username, _, password = login.partition(":")
    steps = [unquote(step) for step in parts.path.split("/")[1:] if step]
    hosts: tuple[tuple[str, int], ...] = ()
    path = service = None
    if scheme == "unix":
        if place or not steps:
            raise ValueError("a URL with three slashes before the path, like unix:///path/of/redis.sock")
        path, steps = unquote(parts.path), []
    else:
        hosts = _hosts(place, SENTINEL_PORT if by_sentinel else PORT)
        if len(hosts) > (HOSTS_MAX if kind else 1):
            raise ValueError(f"a URL with {f'at most {HOSTS_MAX} hosts' if kind else 'one host'}")
    if by_sentinel:
        service = steps.pop(0) if steps else SERVICE
        if not _SERVICE.fullmatch(service):
            raise ValueError("a URL whose path is the service of Sentinel, like redis+sentinel://host:26379/mymaster")
    database = _database(steps, query)
    if cluster and database:
        raise ValueError("a URL without a database: a Redis Cluster has only database 0")
    return RedisAddress(
        hosts=hosts,
        path=path,
        service=service,
        cluster=cluster,
        database=database,
        username=unquote(username) or None,
        password=unquote(password) or None,
        sentinel_username=query.get("sentinel_username"),
        sentinel_password=query.get("sentinel_password"),
        tls=tls,
        verified=_is_verified(query),
        checks_name=_flag(query, "ssl_check_hostname"),
        files={name: query[name] for name in TLS_FILES if name in query},
    )


def _hosts(text: str, port: int) -> tuple[tuple[str, int], ...]:
    found = []
    for place in text.split(","):
        match = _HOST.fullmatch(place)
        if match is None or not 0 < int(match[2] or port) < 65_536:
            raise ValueError(FORMS)
        found.append((match[1].strip("[]"), int(match[2] or port)))
    return tuple(found)


def _database(steps: list[str], query: dict[str, str]) -> int:
    text = query.get("db") or "/".join(steps) or "0"
    if not _DATABASE.fullmatch(text) or ("db" in query and steps and query["db"] != steps[0]):
        raise ValueError("a URL with one database, a number from 0 to 9999 after the last slash or as db in the query")
    return int(text)


def _is_verified(query: dict[str, str]) -> bool:
    if query.get("ssl_cert_reqs", "required") not in ("required", "none"):
        raise ValueError("a URL whose ssl_cert_reqs is required or none")
    return query.get("ssl_cert_reqs") != "none"


def _flag(query: dict[str, str], name: str) -> bool:
    value = query.get(name, "true").lower()
    if value not in _FLAGS:
        raise ValueError(f"a URL whose {name} is true or false")
    return _FLAGS[value]
