"""The generated pages about settings are current."""

from pathlib import Path

from kiai.settings_declaration import SettingsDeclaration
from kiai.settings_pages import settings_reference, settings_sample

PAGES = Path(__file__).parents[2] / "docs" / "operate"
MAKE = (
    'python -c "from pathlib import Path; from kiai.settings_pages import write_pages; '
    "write_pages(Path('docs/operate'))\""
)


def test_the_settings_page_is_current() -> None:
    assert (PAGES / "settings.md").read_text("utf-8") == settings_reference(), f"make it anew: {MAKE}"


def test_the_sample_file_is_current() -> None:
    assert (PAGES / "kiai.toml").read_text("utf-8") == settings_sample(), f"make it anew: {MAKE}"


def test_every_setting_says_what_it_does_in_one_line() -> None:
    for name, field in SettingsDeclaration.model_fields.items():
        about = field.description or ""

        assert about.endswith("."), name
        assert "\n" not in about, name
        assert field.examples, name
        assert f"| `{name}` |" in settings_reference()
