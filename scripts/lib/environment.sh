# Sourced by the scripts: makes .venv from the locked dependencies when it is missing or stale.
# `environment serve` installs what the server needs; `environment test` adds what the checks and tests need.

environment() {
  local kind="$1" python stamp wanted lock_fd
  python="$(find_python)" || return 1
  # Two scripts started at once must not install into the same folder together.
  mkdir -p .venv
  exec {lock_fd}>.venv/.lock
  command -v flock >/dev/null 2>&1 && flock "$lock_fd"
  stamp=".venv/.installed-$kind"
  wanted="$("$python" --version 2>&1) $(cat pyproject.toml requirements/serve.lock "requirements/$kind.lock" | cksum)"
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    echo "kiai: preparing .venv ($kind dependencies) ..." >&2
    [ -x .venv/bin/python ] || "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "requirements/$kind.lock" >&2
    # Put the project on the path instead of building it: a build would download packages that are not locked.
    .venv/bin/python - <<'PY'
import pathlib, sysconfig
site = pathlib.Path(sysconfig.get_paths()["purelib"])
(site / "kiai.pth").write_text(str(pathlib.Path("src").resolve()) + "\n")
PY
    printf '#!/bin/sh\nexec "%s/.venv/bin/python" -m kiai "$@"\n' "$PWD" > .venv/bin/kiai
    chmod +x .venv/bin/kiai
    # A newer `test` set also covers `serve`.
    printf '%s' "$wanted" > "$stamp"
    [ "$kind" = serve ] || printf '%s' "$("$python" --version 2>&1) $(cat pyproject.toml requirements/serve.lock requirements/serve.lock | cksum)" > .venv/.installed-serve
  fi
  exec {lock_fd}>&-
}

# `environment_apart FOLDER LOCK` makes FOLDER/venv from its own lock file, for a tool that needs other packages than the
# server.
environment_apart() {
  local folder="$1" lock="$2" python wanted lock_fd
  python="$(find_python)" || return 1
  mkdir -p "$folder"
  exec {lock_fd}>"$folder/.lock"
  command -v flock >/dev/null 2>&1 && flock "$lock_fd"
  wanted="$("$python" --version 2>&1) $(cksum < "$lock")"
  if [ "$(cat "$folder/.installed" 2>/dev/null)" != "$wanted" ]; then
    echo "kiai: preparing $folder ..." >&2
    "$python" -m venv --clear "$folder/venv"
    "$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$lock" >&2
    printf '%s' "$wanted" > "$folder/.installed"
  fi
  exec {lock_fd}>&-
}

find_python() {
  local candidate
  for candidate in "${KIAI_PYTHON:-}" python3 python3.13 python3.12 python3.11 python; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return 0
    fi
  done
  echo "kiai: Python 3.11 or newer is needed and was not found; install it or set KIAI_PYTHON to its path." >&2
  return 1
}
