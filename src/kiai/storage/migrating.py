"""Brings a database's schema up to date with Alembic, and tells whether it is."""

from pathlib import Path
from typing import Final

VERSIONS: Final = Path(__file__).parent / "migrations" / "versions"


def newest() -> str:
    """The revision this code wants: migrations are named NNNN_title.py and follow one another."""
    return max(path.name[:4] for path in VERSIONS.glob("[0-9]*.py"))


def migrate(url: str) -> None:
    """Runs every migration the database lacks. `url`: `sqlite:///path` or `postgresql://...`; blocking."""
    # Alembic costs 11 MB of memory and is needed for a second of a server's life.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    config.attributes["url"] = url
    command.upgrade(config, "head")
