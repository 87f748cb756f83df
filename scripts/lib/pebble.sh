# Sourced by the scripts: `install_pebble` makes sure that pebble is installed for the tests of certificates. It is an ACME
# authority. Debian's package is installed where root may. Elsewhere the tests say what is missing.

install_pebble() {
  type -P pebble >/dev/null && type -P pebble-challtestsrv >/dev/null && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "kiai: installing pebble ..." >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends pebble; } \
      >&2 || echo "kiai: pebble could not be installed" >&2
  fi
  return 0
}
