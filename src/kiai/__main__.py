"""`python -m kiai` is `kiai`."""

from kiai.cli.main import main

main()
