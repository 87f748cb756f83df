"""The program of the process that compiles templates. A request is a name, its answer the packed code."""

from typing import Final

from kiai.faces.site.assets import Assets
from kiai.faces.site.templating import Templates
from kiai.pool_process import serve

NICENESS: Final = 15
"""Nobody waits for it."""


def main() -> None:
    """Answer requests until stdin ends."""
    templates = Templates(Assets(), {})
    serve(lambda head, _: templates.compile(head.decode()), niceness=NICENESS)


if __name__ == "__main__":
    main()
