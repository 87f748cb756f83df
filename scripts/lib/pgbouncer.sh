# Sourced by the scripts: `install_pgbouncer` makes sure that PgBouncer is installed, a pooler of connections to
# PostgreSQL. Debian's package is installed where root may. Elsewhere the tests that need it are skipped.

install_pgbouncer() {
  type -P pgbouncer >/dev/null && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "kiai: installing pgbouncer ..." >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends pgbouncer; } \
      >&2 || echo "kiai: pgbouncer could not be installed" >&2
  fi
  return 0
}
