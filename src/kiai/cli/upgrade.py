"""The command `kiai upgrade-check`."""

import asyncio

from kiai.cli.common import DataOption, JsonOption, Output, errors_as_exit, settings_of


def upgrade_check(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Look for a newer release at the URL of the setting upgrade_url. Nothing is installed."""
    out = Output(as_json)
    with errors_as_exit(out):
        from kiai.clock import SystemClock
        from kiai.staff.upgrades import UpgradeCheck
        from kiai.stores import require_data
        from kiai.version import VERSION

        settings = settings_of(data)
        require_data(settings)
        found = asyncio.run(UpgradeCheck(settings.upgrade_url, settings.data, SystemClock()).run())
    is_newer = found.is_newer
    line = (
        f"kiai {found.latest} is available; this is {VERSION}. Read the changelog before you upgrade."
        if is_newer
        else f"No newer release: this is {VERSION}, the latest release is {found.latest}."
    )
    out.result({"version": VERSION, "latest": found.latest, "newer": is_newer}, line)
