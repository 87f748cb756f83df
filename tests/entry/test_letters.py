"""The mails of entry: each language has all texts, and a mail is in the language of its account."""

import re
from string import Template
from typing import Final

import msgspec
import pytest
from tests.builders import PASSWORD
from tests.entry.kit import ORIGIN, Entry
from tests.mail_server import link_in

from kiai.accounts import Account
from kiai.entry.letters import BY_THE_SERVER, FOLDER, KINDS, LANGUAGES, WHAT_CHANGED, Letters, changes
from kiai.entry.model import Change, Origin
from kiai.faces.site.locale import DEFAULT
from kiai.faces.site.locale import LANGUAGES as OF_THE_SITE

ACCOUNT: Final = Account(3, "alice", "alice", "alice@example.org", 3, "fi", 1, None, None)
LETTERS: Final = Letters("Kiai Club", "https://kiai.example")


def text_of(language: str, kind: str) -> str:
    return (FOLDER / language / f"{kind}.txt").read_text("utf-8")


def test_mails_have_the_languages_of_the_website() -> None:
    assert {DEFAULT, *LANGUAGES} == set(OF_THE_SITE)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_mail_has_the_same_values_in_every_language(language: str, kind: str) -> None:
    english, translated = text_of("", kind), text_of(language, kind)

    assert sorted(re.findall(r"\$\w+", translated)) == sorted(re.findall(r"\$\w+", english))
    assert Template(translated).is_valid()
    assert translated != english
    lines = translated.splitlines()
    assert lines[1] == ""
    assert "$link" in lines, "a link has a line of its own"


@pytest.mark.parametrize("language", ["", *LANGUAGES])
def test_every_change_has_a_sentence(language: str) -> None:
    assert changes(language).keys() == {change.value for change in WHAT_CHANGED} | {BY_THE_SERVER}


@pytest.mark.parametrize(
    ("language", "subject", "sentence"),
    [
        ("", "The security of your account changed", "The password was changed."),
        ("xx", "The security of your account changed", "The password was changed."),
        ("de", "Die Sicherheit deines Kontos wurde geändert", "Das Passwort wurde geändert."),
        ("ja", "アカウントのセキュリティが変更されました", "パスワードが変更されました。"),
    ],
)
def test_mail_is_in_the_language_of_the_account(language: str, subject: str, sentence: str) -> None:
    account = msgspec.structs.replace(ACCOUNT, language=language)

    message = LETTERS.changed(account, Change.PASSWORD, Origin("cli"), 0)

    assert message.to == "alice@example.org"
    assert message.subject == f"Kiai Club: {subject}"
    assert sentence in message.text
    assert changes(language)[BY_THE_SERVER] in message.text


def test_login_on_the_website_sets_the_language(entry: Entry) -> None:
    for language, stored in (("de", "de"), ("", "de"), ("pl", "pl")):
        origin = msgspec.structs.replace(ORIGIN, language=language)
        entry.run(entry.services.web_login.log_in("alice", PASSWORD, origin))

        assert entry.run(entry.world.accounts.account("alice")).language == stored


def test_new_player_gets_mails_in_the_language_of_the_registration(entry: Entry) -> None:
    origin = msgspec.structs.replace(ORIGIN, language="ja")
    form = {"name": "newcomer", "email": "new@example.org", "password": "correct horse 8"}
    entry.run(entry.services.registration.register(**form, origin=origin))
    entry.services.security.request_reset("new@example.org")

    assert entry.subjects("new@example.org") == ["Kiai Club: 新しいパスワードの設定"]
    assert entry.mail_server is not None
    [mail] = entry.mail_server.to("new@example.org")
    assert link_in(mail).startswith("https://kiai.example/reset/")
