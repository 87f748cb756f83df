"""The process that obtains a certificate for a server, or only its account at the authority.

Reads the plan from stdin, and prints an error to stdout.
"""

import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from kiai.errors import KiaiError
from kiai.tls.folder import TlsFolder
from kiai.tls.plan import TlsPlan
from kiai.tls.renewal import obtain, open_account

PRIVATE: Final = 0o077


def main(arguments: list[str]) -> int:
    """Do the work for the data folder and the time in unix ms of the arguments. Return the exit code."""
    os.umask(PRIVATE)
    work, data, now_ms = arguments
    plan = msgspec.json.decode(sys.stdin.buffer.read(), type=TlsPlan)
    try:
        (open_account if work == "account" else obtain)(plan, TlsFolder(Path(data)), int(now_ms))
    except KiaiError as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
