# Sourced by the scripts: `install_chromium` makes sure that a Chromium is installed for the tests in a browser. It takes that of
# the system, or installs Debian's package where root may. Elsewhere the tests say what is missing. The headless shell is
# Chromium without windows: the tests need half of the processor time in it.

install_chromium() {
  local candidate
  for candidate in chromium-headless-shell chromium chromium-browser google-chrome; do
    type -P "$candidate" >/dev/null && return 0 # a path, because functions have names, too
  done
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "kiai: installing chromium ..." >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2 || true
    for candidate in chromium-headless-shell chromium; do # older systems have no package of the shell
      apt-get install -qq -y --no-install-recommends "$candidate" >&2 && return 0
    done
    echo "kiai: chromium could not be installed" >&2
  fi
  return 0
}
