"""Opens the connections to Redis: to one server, with or without TLS, or to the primary that Sentinels name."""

import re
import ssl
from typing import Any, Final

from redis.asyncio import ConnectionPool, Redis, Sentinel, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from kiai.errors import Refused
from kiai.redis_url import RedisAddress, parse_redis_url

TIMEOUT_S: Final = 5.0
CONNECT_S: Final = 2.0
CONNECTIONS_MAX: Final = 64
# Sentinels are asked one after another for each new connection, so a dead one must not take the time of a request.
SENTINEL_S: Final = 0.5
_REJECTED: Final = re.compile(r"certificate verify failed: (.*?)\.?(?: \(_ssl\.c:\d+\)|$)", re.DOTALL)


def connect(url: str) -> Redis:
    """Return a client for a URL of the setting `state`. The first command connects.

    A command is never sent twice: after a lost connection, nobody knows whether the server has run it. Raises Refused
    for a file of the URL that cannot be used.
    """
    address = parse_redis_url(url)
    tls = _tls(address)
    options: dict[str, Any] = {
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "socket_timeout": TIMEOUT_S,
        "socket_connect_timeout": CONNECT_S,
        "max_connections": CONNECTIONS_MAX,
    }
    if address.service is not None:
        sentinels: Any = Sentinel(  # type: ignore[no-untyped-call]
            address.hosts,
            sentinel_kwargs={
                "username": address.sentinel_username,
                "password": address.sentinel_password,
                "socket_timeout": SENTINEL_S,
                "socket_connect_timeout": SENTINEL_S,
                "retry": Retry(NoBackoff(), 0),  # the next Sentinel answers sooner
                **({"ssl": True, **tls} if address.tls else {}),
            },
        )
        primary: Redis = sentinels.master_for(
            address.service, **options, **({"ssl": True, **tls} if address.tls else {})
        )
        return primary
    if address.path is not None:
        return Redis.from_pool(ConnectionPool(UnixDomainSocketConnection, path=address.path, **options))
    [(host, port)] = address.hosts
    if address.tls:
        return Redis.from_pool(ConnectionPool(SSLConnection, host=host, port=port, **options, **tls))
    return Redis.from_pool(ConnectionPool(host=host, port=port, **options))


def _tls(address: RedisAddress) -> dict[str, Any]:
    """Return the options for TLS. Reads the files once, because the library would report an error without a name."""
    if not address.tls:
        return {}
    context = ssl.create_default_context()
    try:
        if "ssl_ca_certs" in address.files:
            context.load_verify_locations(address.files["ssl_ca_certs"])
        if "ssl_certfile" in address.files:
            context.load_cert_chain(address.files["ssl_certfile"], address.files.get("ssl_keyfile"))
    except OSError as error:
        reason = "they are not the PEM files that it needs" if isinstance(error, ssl.SSLError) else error.strerror
        names = ", ".join(f"{name} {path}" for name, path in sorted(address.files.items()))
        raise Refused(f"the setting state cannot use {names}: {reason}; correct the paths") from error
    return {
        "ssl_cert_reqs": "required" if address.verified else "none",
        "ssl_check_hostname": address.verified and address.checks_name,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        **address.files,
    }


def reason_of(error: BaseException) -> str:
    """Return why a call of Redis has failed, with what the operator can do if the certificate is the reason."""
    text = str(error)
    if rejected := _REJECTED.search(text):
        return (
            f"the certificate of Redis is rejected: {rejected[1]}; name its authority in ssl_ca_certs and a host of "
            "the certificate in the URL of the setting state"
        )
    return text or "no answer"
