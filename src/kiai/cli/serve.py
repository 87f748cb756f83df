"""The command `kiai serve`."""

from typing import Annotated

import typer

from kiai.cli.common import (
    DatabaseOption,
    DataOption,
    Output,
    TlsKeyOption,
    TlsOption,
    errors_as_exit,
    settings_of,
)
from kiai.exec_server import exec_server


def serve(
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", show_default="127.0.0.1", help="Address to listen on.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port",
            metavar="PORT",
            show_default="8080; with --tls 443",
            min=0,
            max=65535,
            help="Port to listen on; 0 selects a free port.",
        ),
    ] = None,
    domain: Annotated[
        str | None,
        typer.Option(
            "--domain", metavar="DOMAIN", show_default="localhost", help="Domain under which players reach the server."
        ),
    ] = None,
    tls: TlsOption = None,
    tls_key: TlsKeyOption = None,
    http_port: Annotated[
        str | None,
        typer.Option(
            "--http-port", metavar="PORT|off", show_default="80", help="With --tls: port that redirects http to https."
        ),
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            "--trusted-proxy",
            metavar="CIDR",
            help="Network of a proxy whose X-Forwarded-For header is trusted; repeatable.",
        ),
    ] = None,
    database_replica: Annotated[
        str | None,
        typer.Option("--database-replica", metavar="URL", help="Streaming replica of --database that answers reads."),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            "--state", metavar="URL", help="Redis for live state, e.g. redis://host; required for several workers."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", show_default="1", min=1, max=256, help="Number of worker processes."),
    ] = None,
    irc: Annotated[
        str | None,
        typer.Option("--irc", metavar="[HOST:]PORT", help="Accept IRC connections on this port, e.g. 0.0.0.0:6667."),
    ] = None,
    irc_tls: Annotated[
        str | None,
        typer.Option("--irc-tls", metavar="[HOST:]PORT", help="Accept encrypted IRC connections, e.g. 0.0.0.0:6697."),
    ] = None,
    files: Annotated[
        str | None, typer.Option("--files", metavar="PLACE", help="Folder or S3 bucket (s3://...) for files.")
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="First fill an empty data folder with demo data.")] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
) -> None:
    """Start the server. By default it listens on http://localhost:8080 and stores everything in ./data."""
    # Only the settings that operators change often are options. All others are in the file and the environment.
    flags = {
        "host": host,
        "port": port,
        "domain": domain,
        "tls": tls,
        "tls_key": tls_key,
        "http_port": http_port,
        "database": database,
        "database_replica": database_replica,
        "files": files,
        "state": state,
        "workers": workers,
        "trusted_proxy": trusted_proxy,
        "irc": irc,
        "irc_tls": irc_tls,
    }
    with errors_as_exit(Output(as_json=False)):
        settings = settings_of(data, **flags)
        # Replaces this process, so that signals reach the server itself and Typer does not stay in memory.
        exec_server(settings, demo=demo)
