"""`kiai serve`"""

from typing import Annotated

import typer

from kiai.cli.common import DatabaseOption, DataOption, Out, failing, settings_of
from kiai.handing_over import hand_over


def serve(
    host: Annotated[str | None, typer.Option("--host", show_default="127.0.0.1", help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option("--port", show_default="8080", min=0, max=65535)] = None,
    domain: Annotated[
        str | None, typer.Option("--domain", show_default="localhost", help="api.DOMAIN, a.DOMAIN, ... are served.")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None, typer.Option("--trusted-proxy", metavar="CIDR", help="Whose X-Forwarded-For counts.")
    ] = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="URL", help="A Redis that several workers share.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", show_default="1", min=1, max=256, help="Processes.")
    ] = None,
    files: Annotated[str | None, typer.Option("--files", metavar="DIR", help="Where files are kept.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Fills an empty data folder with a small world first.")] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
) -> None:
    """Starts the server. No setting is needed: it answers at http://localhost:8080 and keeps everything in ./data."""
    flags = {
        "host": host,
        "port": port,
        "domain": domain,
        "database": database,
        "files": files,
        "state": state,
        "workers": workers,
        "trusted_proxy": trusted_proxy,
    }
    with failing(Out(as_json=False)):
        settings = settings_of(data, **flags)
        hand_over(settings, demo=demo)
