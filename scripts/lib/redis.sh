# Sourced by the scripts: `install_redis_tools` makes sure that a Redis with TLS is installed. Those of the wheels have
# none. Debian's package redis-tools contains the program and starts no service. It is installed where root may.
# Elsewhere the tests that need it are skipped.

install_redis_tools() {
  type -P redis-check-rdb >/dev/null && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "kiai: installing redis-tools ..." >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends redis-tools; } \
      >&2 || echo "kiai: redis-tools could not be installed" >&2
  fi
  return 0
}
