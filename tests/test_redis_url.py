"""Parses the URL of the setting `state`, and checks the sentence for a wrong one."""

import pytest

from kiai.errors import quoted
from kiai.redis_url import RedisAddress, parse_redis_url
from kiai.server_settings import masked
from kiai.settings import BadSettings, load_settings


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://cache", RedisAddress(hosts=(("cache", 6379),))),
        ("redis://[::1]:7000/3", RedisAddress(hosts=(("::1", 7000),), database=3)),
        ("redis://cache?db=4", RedisAddress(hosts=(("cache", 6379),), database=4)),
        (
            "redis://kiai:p%40ss@cache:6380/0",
            RedisAddress(hosts=(("cache", 6380),), username="kiai", password="p@ss"),
        ),
        ("redis://:secret@cache", RedisAddress(hosts=(("cache", 6379),), password="secret")),
        (
            "rediss://cache:6380?ssl_ca_certs=/etc/ca.pem",
            RedisAddress(hosts=(("cache", 6380),), tls=True, files={"ssl_ca_certs": "/etc/ca.pem"}),
        ),
        ("rediss://cache?ssl_cert_reqs=none", RedisAddress(hosts=(("cache", 6379),), tls=True, verified=False)),
        ("rediss://cache?ssl_check_hostname=no", RedisAddress(hosts=(("cache", 6379),), tls=True, checks_name=False)),
        ("unix:///run/redis.sock", RedisAddress(path="/run/redis.sock")),
        (
            "unix://kiai:secret@/run/redis.sock?db=2",
            RedisAddress(path="/run/redis.sock", database=2, username="kiai", password="secret"),
        ),
        (
            "redis+sentinel://a,b:26380,[::1]:5/games/1",
            RedisAddress(hosts=(("a", 26379), ("b", 26380), ("::1", 5)), service="games", database=1),
        ),
        (
            "redis+cluster://kiai:one@a,b:7000",
            RedisAddress(hosts=(("a", 6379), ("b", 7000)), cluster=True, username="kiai", password="one"),
        ),
        (
            "rediss+cluster://a?ssl_ca_certs=/etc/ca.pem",
            RedisAddress(hosts=(("a", 6379),), cluster=True, tls=True, files={"ssl_ca_certs": "/etc/ca.pem"}),
        ),
        ("redis+sentinel://a?db=5", RedisAddress(hosts=(("a", 26379),), service="mymaster", database=5)),
        (
            "rediss+sentinel://kiai:one@a/games?sentinel_username=watch&sentinel_password=two",
            RedisAddress(
                hosts=(("a", 26379),),
                service="games",
                username="kiai",
                password="one",
                sentinel_username="watch",
                sentinel_password="two",
                tls=True,
            ),
        ),
    ],
)
def test_url_names_a_server(url: str, said: RedisAddress) -> None:
    assert parse_redis_url(url) == said


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://cache", "a URL like redis://host:6379/0, rediss://host:6379/0, unix:///path/of/redis.sock, redis+se"),
        ("redis://", "a URL like redis://host:6379/0"),
        ("redis://cache:70000", "a URL like redis://host:6379/0"),
        ("redis://a,b", "a URL with one host"),
        ("redis://cache/games", "a URL with one database, a number from 0 to 9999 after the last slash or as db"),
        ("redis://cache/1?db=2", "a URL with one database"),
        ("redis://cache?sl_ca_certs=/ca.pem", "a URL whose query has only db"),
        (
            "redis://cache?ssl_ca_certs=/ca.pem",
            "a URL whose query has only db; the others need rediss://",
        ),
        ("rediss://cache?ssl_cert_reqs=maybe", "a URL whose ssl_cert_reqs is required or none"),
        ("rediss://cache?ssl_check_hostname=maybe", "a URL whose ssl_check_hostname is true or false"),
        ("unix://run/redis.sock", "a URL with three slashes before the path"),
        ("redis+sentinel://a/two words", "a URL whose path is the service of Sentinel"),
        (f"redis+sentinel://{','.join('a' * 17)}/games", "a URL with at most 16 hosts"),
        (f"redis+cluster://{','.join('a' * 17)}", "a URL with at most 16 hosts"),
        ("redis+cluster://a/1", "a URL without a database: a Redis Cluster has only database 0"),
        ("redis+cluster://a?sentinel_username=watch", "a URL whose query has only db"),
    ],
)
def test_wrong_url_is_refused_with_what_is_allowed(url: str, allowed: str) -> None:
    with pytest.raises(BadSettings) as refused:
        load_settings(state=url)

    assert str(refused.value).startswith(f"state must be {allowed}")
    assert str(refused.value).endswith(f", got {quoted(url)} (--state)")


def test_passwords_in_a_url_of_sentinels_are_masked() -> None:
    shown = str(masked("state", "redis+sentinel://kiai:one@a,b/games?sentinel_password=two&db=1"))

    assert ("one" in shown, "two" in shown, "a,b/games" in shown) == (False, False, True)
