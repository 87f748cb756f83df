"""Coverage-guided fuzzing of the codec, beyond what a test run has time for: `scripts/fuzz`.

Starts from the encoded examples and takes libFuzzer's options; by default it runs for a minute. A body that breaks
something is stored as a file; given as an argument, the file is tried again.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["kiai.faces.bancho"]):
    from kiai.faces.bancho import packets, wire  # noqa: F401

from tests.faces.bancho.client_bytes import survives
from tests.faces.bancho.vectors import VECTORS

from kiai import logs

DEFAULTS = ("-max_total_time=60", "-max_len=65536", "-rss_limit_mb=1024", "-timeout=5")


def main() -> None:
    """Fuzz until the time is over or a check fails."""
    logs.configure("text", "error")
    with tempfile.TemporaryDirectory() as corpus:
        for number, vector in enumerate(VECTORS):
            Path(corpus, str(number)).write_bytes(vector.encoded)
        Path(corpus, "all").write_bytes(b"".join(vector.encoded for vector in VECTORS))
        given = sys.argv[1:]
        again = any(not argument.startswith("-") for argument in given)
        atheris.Setup([sys.argv[0], *DEFAULTS, *given, *([] if again else [corpus])], survives)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
