# Sourced by the scripts: `install_ii` makes sure that ii is installed for the tests of IRC. It is a client that is used through
# files. Debian's package is installed where root may. Elsewhere the test says what is missing.

install_ii() {
  type -P ii >/dev/null && return 0 # a path, because functions have names, too
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "kiai: installing ii ..." >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends ii; } \
      >&2 || echo "kiai: ii could not be installed" >&2
  fi
  return 0
}
