"""Texts generated from the declarations of the settings: the reference, the sample file, the file of `kiai init`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic.fields import FieldInfo

from kiai.server_settings import PREFIX
from kiai.setting_types import allowed_values, extra_of
from kiai.settings import OTHER_VARIABLES
from kiai.settings_declaration import SettingsDeclaration


def _default(field: FieldInfo) -> str:
    return extra_of(field, "shown_default") or (_toml(field.default) if field.default not in (None, ()) else "none")


def _toml(value: object) -> str:
    """Format a value for kiai.toml."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return json.dumps(str(value), ensure_ascii=False).replace(
        "\x7f", "\\u007f"
    )  # the escapes of JSON are those of TOML


def settings_reference() -> str:
    """Return the page `docs/operate/settings.md`."""
    rows = []
    for name, field in SettingsDeclaration.model_fields.items():
        unit = f" {extra_of(field, 'unit')}" if extra_of(field, "unit") else ""
        default = _default(field) if extra_of(field, "shown_default") else f"`{_default(field)}`"
        example = f"`{_toml((field.examples or [])[0])}`"
        allowed = allowed_values(field) + unit
        cells = (f"`{name}`", f"`{PREFIX}{name.upper()}`", allowed, default, field.description, example)
        rows.append(f"| {' | '.join(map(str, cells))} |")
    others = ", ".join(f"`{name}`" for name in sorted(OTHER_VARIABLES - {"KIAI_CONFIG"}))
    return f"""# Settings

This page lists every setting of the server. No setting is required. You can set each one in three places:

1. As a flag of a command, if the command has that flag. The flag is the setting's name with dashes: `--trusted-proxy`.
2. As an environment variable.
3. In `kiai.toml`, in the folder where you start the command, or in the file that `KIAI_CONFIG` names. The
   [sample file](kiai.toml) contains every setting.

Flags override environment variables, environment variables override `kiai.toml`, and `kiai.toml` overrides the
defaults. Settings are read at the start. `!reload settings` of a developer reads `kiai.toml` again and applies
`welcome`, `menu_icon`, `menu_link`, `oldest_build` and `build_age_days`; changes of other settings need a restart.
Developers see the settings in force, with their sources, at [`/admin/settings`](admin.md), and read them again there.
They also [write](texts.md#texts-of-the-game) `welcome`, `menu_icon` and `menu_link` there.

Unknown settings are rejected by name. A value that is not allowed stops the command with one line that says where the
value comes from and what is allowed. Relative folders start at the folder where you start the command. In environment
variables, separate the items of a list with commas. An empty variable counts as not set.

| setting | environment variable | allowed values | default | description | example |
|---|---|---|---|---|---|
{chr(10).join(rows)}

{others} are for tests and scripts. Do not set them for a server.

This page is generated from `src/kiai/settings_declaration.py`.
"""


def settings_sample() -> str:
    """Return the file `docs/operate/kiai.toml`: every setting with its example, commented out."""
    lines = ["# Sample kiai.toml. To change a setting, remove the # in front of it. The values are examples."]
    for name, field in SettingsDeclaration.model_fields.items():
        unit = f" {extra_of(field, 'unit')}" if extra_of(field, "unit") else ""
        lines += [
            "",
            f"# {field.description}",
            f"# Allowed: {allowed_values(field)}{unit}. Default: {_default(field)}.",
            f"#{name} = {_toml((field.examples or [])[0])}",
        ]
    return "\n".join(lines) + "\n"


def config_text(values: Mapping[str, object]) -> str:
    """Return a `kiai.toml` with these values; None counts as not given."""
    lines = ["# Settings of this server. docs/operate/settings.md lists all; docs/operate/kiai.toml has examples."]
    for name, value in values.items():
        if value is not None:
            about = SettingsDeclaration.model_fields[name].description
            lines += ["", f"# {about}", f"{name} = {_toml(value)}"]
    return "\n".join(lines) + "\n"


def write_pages(folder: Path) -> None:
    """Write both pages into `folder` (docs/operate)."""
    (folder / "settings.md").write_text(settings_reference(), "utf-8")
    (folder / "kiai.toml").write_text(settings_sample(), "utf-8")
