"""An example of each command of the command line that changes something, with the audit row that it leaves."""

from typing import Final

import msgspec
from PIL import Image
from tests.faces.acts.chat_examples import (
    address_blocked,
    banned,
    clan,
    donor,
    flagged,
    frozen,
    has_avatar,
    has_userpage,
    hidden,
    map_wiped,
    np,
    reported,
    restricted,
    role,
    scored,
    silenced,
    wiped,
)
from tests.faces.acts.desk import Prepare, Scene
from tests.wire.kit import run_kiai

from kiai.beatmaps import MapStatus
from kiai.staff.audit import OPERATOR
from kiai.webhooks.model import Format


class CommandExample(msgspec.Struct, frozen=True):
    """One use of a command. `row`: the action of the one audit row. `{name}` in words stands for a value."""

    command: str
    words: tuple[str, ...]
    row: str
    before: tuple[Prepare, ...] = ()


# --- states before an example


def a_file(scene: Scene) -> None:
    """There is a file with a map that the server knows with another status."""
    new = scene.desk.map(MapStatus.PENDING)
    path = scene.desk.data.parent / f"{new.id}.osu"
    path.write_bytes(new.data)
    scene.values["file"] = path


def an_icon(scene: Scene) -> None:
    """There is a file with a picture."""
    path = scene.desk.data.parent / "icon.png"
    Image.new("RGB", (64, 64), (90, 20, 120)).save(path)
    scene.values["icon"] = path


def webhook(scene: Scene) -> None:
    """There is a webhook."""
    scene.values["webhook"], _ = scene.run(
        scene.services.community.webhook_editor.add(
            OPERATOR, "https://1.1.1.1/hook", ["flag"], format_=Format.JSON, secret="s" * 32
        )
    )


def channel(scene: Scene) -> None:
    """There is a channel."""
    scene.values["channel"] = f"#c{scene.values['n']}"
    scene.run(scene.services.community.channel_desk.add(OPERATOR, str(scene.values["channel"])))


def filtered(scene: Scene) -> None:
    """The word filter has a pattern."""
    scene.run(scene.services.community.filter_desk.set(OPERATOR, f"word{scene.values['n']}"))


def faq(scene: Scene) -> None:
    """There is a text of the FAQ."""
    scene.run(scene.services.community.faq.set(OPERATOR, f"k{scene.values['n']}", "text"))


def queued_run(scene: Scene) -> None:
    """A recalculation waits."""
    given = {"map": str(scene.values["n"])}
    scene.values["run"] = scene.run(scene.services.community.job_desk.start(OPERATOR, "recalc", given))


def api_key(scene: Scene) -> None:
    """The target has an API key."""
    scene.desk.key(scene.target)


def irc_password(scene: Scene) -> None:
    """The target has an IRC password."""
    scene.run(scene.services.site.irc_passwords.create(scene.target.id))


def no_maintenance(scene: Scene) -> None:
    """The server is not in maintenance."""
    assert not scene.run(scene.services.community.maintenance.is_on(OPERATOR))


def open_registration(scene: Scene) -> None:
    """Everybody can register."""
    assert scene.run(scene.services.community.registration_switch.state(OPERATOR)) == "on"


def stop_planned(scene: Scene) -> None:
    """A stop of the server is planned."""
    scene.run(scene.services.community.shutdown.plan(OPERATOR, 3_600))


def a_hash(scene: Scene) -> None:
    """`{hash}` is the hash of a device."""
    scene.values["hash"] = f"{int(str(scene.values['n'])):032x}"


def device_allowed(scene: Scene) -> None:
    """The device is on the list of shared devices."""
    done = run_kiai(scene.desk.data, "devices", "allow", str(scene.values["hash"]), "--json")
    assert done.returncode == 0, done


# --- the examples

REASON: Final = ("--reason", "because")
EXAMPLES: Final = (
    CommandExample(
        "users add", ("new{n}", "--email", "new{n}@example.org", "--password", "correct horse 7"), "register"
    ),
    CommandExample("users grant", ("{t}", "moderator"), "privileges"),
    CommandExample("users revoke", ("{t}", "moderator"), "privileges", (role("moderator"),)),
    CommandExample("users apikey", ("{t}",), "api_key_created"),
    CommandExample("users apikey", ("{t}", "--revoke"), "api_key_revoked", (api_key,)),
    CommandExample("users irc-password", ("{t}",), "irc_password"),
    CommandExample("users irc-password", ("{t}", "--revoke"), "irc_password", (irc_password,)),
    CommandExample("users chat-bot", ("{t}",), "privileges"),
    CommandExample("users password", ("{t}", "--password", "correct horse 8"), "password"),
    CommandExample("users invite", (), "invite"),
    CommandExample("users reset-link", ("{t}",), "reset_link"),
    CommandExample("users reset-second-factor", ("{t}",), "second_factor_reset"),
    CommandExample("users devices", ("{t}",), "multi_check"),
    CommandExample("users restrict", ("{t}", *REASON), "restrict"),
    CommandExample("users unrestrict", ("{t}", *REASON), "unrestrict", (restricted,)),
    CommandExample("users unrestrict", ("{t}", *REASON, "--wipe"), "unrestrict", (scored, restricted)),
    CommandExample("users wipe", ("{t}", *REASON, "--yes"), "user_wipe", (scored,)),
    CommandExample("users wipe", ("{t}", *REASON, "--mode", "0", "--yes"), "user_wipe", (scored,)),
    CommandExample("users restore", ("{t}", *REASON), "user_restore", (scored, wiped)),
    CommandExample("beatmaps wipe", ("{map}", *REASON, "--yes"), "map_wipe", (scored,)),
    CommandExample("beatmaps restore", ("{map}", *REASON), "map_restore", (scored, map_wiped)),
    CommandExample("scores hide", ("{score}", *REASON), "score_hide", (scored,)),
    CommandExample("scores unhide", ("{score}", *REASON), "score_unhide", (scored, hidden)),
    CommandExample("users ban", ("{t}", *REASON), "ban"),
    CommandExample("users unban", ("{t}", *REASON), "unban", (banned,)),
    CommandExample("users freeze", ("{t}", *REASON), "freeze"),
    CommandExample("users unfreeze", ("{t}", *REASON), "unfreeze", (frozen,)),
    CommandExample("users silence", ("{t}", "10m", *REASON), "silence"),
    CommandExample("users unsilence", ("{t}", *REASON), "unsilence", (silenced,)),
    CommandExample("users delavatar", ("{t}", *REASON), "content_remove", (has_avatar,)),
    CommandExample("users deluserpage", ("{t}", *REASON), "content_remove", (has_userpage,)),
    CommandExample("addresses block", ("{ip}", *REASON), "ip_block"),
    CommandExample("addresses unblock", ("{ip}",), "ip_unblock", (address_blocked,)),
    CommandExample("maintenance", ("on",), "maintenance", (no_maintenance,)),
    CommandExample("registration", ("invite",), "registration", (open_registration,)),
    CommandExample("shutdown", ("--cancel",), "shutdown", (stop_planned,)),
    CommandExample("users kick", ("{t}", *REASON), "kick"),
    CommandExample("users donor", ("{t}", "30d"), "donor_give"),
    CommandExample("users donor", ("{t}", "--end"), "donor_take", (donor,)),
    CommandExample("users rename", ("{t}", "other{n}"), "rename"),
    CommandExample("users country", ("{t}", "de"), "country"),
    CommandExample("users delete", ("{t}", "--yes"), "user_delete"),
    CommandExample("users note", ("{t}", "careful"), "note"),
    CommandExample("users notes", ("{t}",), "notes_read"),
    CommandExample("beatmaps status", ("ranked", "--map", "{map}"), "beatmap_status", (np,)),
    CommandExample("beatmaps import", ("{file}", "--status", "loved"), "beatmap_import", (a_file,)),
    CommandExample("clans create", ("N{n}", "New {n}", "--owner", "{t}"), "clan_edit"),
    CommandExample("clans disband", ("{tag}", "--yes", *REASON), "clan_disband", (clan("target"),)),
    CommandExample("clans rename", ("{tag}", "Other {n}"), "clan_edit", (clan("target"),)),
    CommandExample("clans tag", ("{tag}", "O{n}"), "clan_edit", (clan("target"),)),
    CommandExample("clans description", ("{tag}", "Hello"), "clan_edit", (clan("target"),)),
    CommandExample("devices allow", ("{hash}",), "device_edit", (a_hash,)),
    CommandExample("devices forget", ("{hash}",), "device_edit", (a_hash, device_allowed)),
    CommandExample("clans icon", ("{tag}", "{icon}"), "clan_edit", (clan("target"), an_icon)),
    CommandExample("clans status", ("{tag}", "open"), "clan_edit", (clan("target"),)),
    CommandExample("clans kick", ("{tag}", "{me}"), "clan_edit", (clan("target", "actor"),)),
    CommandExample("clans transfer", ("{tag}", "{me}"), "clan_edit", (clan("target", "actor"),)),
    CommandExample("flags close", ("{flag}", "--verdict", "clean"), "flag_close", (flagged,)),
    CommandExample("reports close", ("{report}", "handled"), "report_close", (reported,)),
    CommandExample("webhooks add", ("https://1.1.1.1/new", "--events", "flag"), "webhook_edit"),
    CommandExample("webhooks remove", ("{webhook}",), "webhook_edit", (webhook,)),
    CommandExample("channels add", ("#new{n}",), "channel_edit"),
    CommandExample("channels topic", ("{channel}", "news"), "channel_edit", (channel,)),
    CommandExample("channels moderated", ("{channel}", "on"), "channel_moderated", (channel,)),
    CommandExample("channels remove", ("{channel}",), "channel_edit", (channel,)),
    CommandExample("faq set", ("k{n}", "text"), "faq_edit"),
    CommandExample("jobs start", ("recalc", "--map", "{n}"), "recalc"),
    CommandExample("jobs cancel", ("{run}",), "job_cancel", (queued_run,)),
    CommandExample("medals backfill", ("--user", "{me}"), "medals_award"),
    CommandExample("faq remove", ("k{n}",), "faq_edit", (faq,)),
    CommandExample("filter set", ("word{n}", "--silence", "10m"), "filter_edit"),
    CommandExample("filter remove", ("word{n}",), "filter_edit", (filtered,)),
)

WITHOUT_ROW: Final = {
    "filter list": "reads",
    "addresses list": "reads",
    "devices list": "reads",
    "serve": "starts the server",
    "init": "sets up a server; the rows of the owner are those of `users add` and `users grant`",
    "tls export": "reads",
    "tls status": "reads",
    "tls renew": "obtains a certificate, which players do not see",
    "audit": "reads",
    "demo": "fills an empty data folder, before there is a log",
    "recalc": "computes again what follows from the scores",
    "backup": "reads; its run is recorded with those of jobs",
    "backups": "reads",
    "upgrade-check": "reads",
    "backup-key": "writes a file outside of the data",
    "restore": "restores a log that exists",
    "migrate": "changes the schema",
    "users claim-code": "fails on a server with an owner; tests/staff/test_ownership.py has its row",
    "users show": "reads",
    "users list": "reads",
    "users flags": "reads",
    "beatmaps fetch": "does what a player does who selects an unknown map",
    "clans list": "reads",
    "clans show": "reads",
    "replays import": "stores plays, which name their origin",
    "top": "reads",
    "profile": "reads",
    "doctor": "reads; a repair has a row, see tests/staff/test_doctor_files.py",
    "flags list": "reads",
    "flags scan": "raises flags, which are rows of their own",
    "webhooks list": "reads",
    "webhooks test": "needs a receiver; tests/wire/test_webhooks.py has it",
    "reports list": "reads",
    "channels list": "reads",
    "jobs list": "reads",
    "faq list": "reads",
}
"""The other commands, and why they leave no row here."""
