"""`kiai`, and `python -m kiai`."""

import os
import signal
import sys
from typing import Final

PRIVATE: Final = 0o077


def main() -> None:
    """Runs the command line; the entry point of the package."""
    os.umask(PRIVATE)  # the data, back-ups and keys are for their owner alone, whoever starts kiai and how
    if sys.argv[1:2] == ["serve"]:
        # A closed terminal or an early `systemctl reload` must not end a server that is still starting. The server
        # that this process becomes goes on ignoring it.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from kiai.cli.main import run  # takes most of a second

    run()


if __name__ == "__main__":
    main()
