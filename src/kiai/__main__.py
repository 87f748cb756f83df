"""The entry point of the command line."""

import gc
import os
import signal
import sys
from typing import Final

PRIVATE: Final = 0o077
RARELY: Final = (100_000, 20, 20)


def main() -> None:
    """Run the command line."""
    # PERF: garbage collections find nothing in what is imported, and took a third of the time of a short command.
    gc.set_threshold(*RARELY)
    os.umask(PRIVATE)  # only the owner may read data, backups and keys, regardless of the umask of the shell
    if sys.argv[1:2] == ["serve"]:
        # SIGUSR1 waits until the server can answer it (`stacks.py`).
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        # A closed terminal or an early `systemctl reload` must not end a server that is still starting. The server
        # process inherits the ignored signal over exec.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from kiai.cli.main import run  # after the signal, because this import takes most of a second

    try:
        run()
    finally:
        gc.freeze()  # the collections at the exit of Python


if __name__ == "__main__":
    main()
