"""Prints the settings as JSON, with secrets, for a server that reads them again (`staff/live_settings.py`)."""

import sys

from kiai.settings import BadSettings, load_settings


def main() -> int:
    """Print the settings of kiai.toml and the environment, or the faults to stderr. Return the exit code."""
    try:
        sys.stdout.buffer.write(load_settings().to_json())
    except BadSettings as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
