# Sourced by the scripts: `install_chromium` makes sure that a Chromium is installed for the tests in a browser. It takes that of
# the system, or installs Debian's package where root may. Elsewhere the tests say what is missing.

install_chromium() {
  local candidate
  for candidate in chromium chromium-browser google-chrome; do
    type -P "$candidate" >/dev/null && return 0 # a path, because functions have names, too
  done
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "kiai: installing chromium ..." >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium; } \
      >&2 || echo "kiai: chromium could not be installed" >&2
  fi
  return 0
}
