"""The commands `kiai users ...`."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from kiai.accounts import BOT_ID, Account
from kiai.cli.common import (
    DatabaseOption,
    DataOption,
    Invocation,
    JsonOption,
    Output,
    pluralized,
    read_password,
    settings_of,
    with_options,
    with_services,
)
from kiai.entry.model import OPERATOR_ORIGIN
from kiai.errors import Invalid, Refused
from kiai.osu.durations import parse_duration
from kiai.osu.privileges import Privilege, privilege_names
from kiai.served_port import read_port
from kiai.server_settings import Settings
from kiai.staff import OPERATOR
from kiai.tls.folder import TlsFolder

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.scores.flags import IntegrityFlag
    from kiai.staff.devices import DeviceMatch
    from kiai.staff.ownership import ClaimCode

FLAGS_MAX = 100

app = typer.Typer(help="Manage accounts: passwords, privileges, API keys, restrictions.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the account; quote a name with spaces.")]
PasswordOption = Annotated[
    str | None,
    typer.Option("--password", help="Password; prompted for, or read from stdin, if not given.", metavar="P"),
]


def user_object(account: Account) -> dict[str, object]:
    """Return an account as `--json` shows it; `created_at` is in unix seconds."""
    fields: dict[str, object] = {
        "id": account.id,
        "name": account.name,
        "safe_name": account.safe_name,
        "email": account.email if account.id != BOT_ID else "",  # the bot's address is a placeholder
        "priv": account.priv,
        "country": account.country,
        "restricted": not account.priv & Privilege.UNRESTRICTED,
        "created_at": account.created_at_ms // 1000,
        "banned": account.banned_at_ms is not None,
        "silence_end": account.silenced_until_ms // 1000 if account.silenced_until_ms > time.time() * 1000 else 0,
        "restricted_until": account.restricted_until_ms // 1000,
        "freeze_until": account.freeze_until_ms // 1000,
        "donor_end": account.donor_until_ms // 1000,
        "clan_id": account.clan_id,
    }
    if account.id == BOT_ID:  # only the bot has this key, so that scripts which do not know it are not affected
        fields["bot"] = True
    return fields


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _line(account: Account) -> str:
    privileges = ", ".join(privilege_names(account.priv)) or "restricted"
    return f"{account.id:>8}  {account.name:<15}  {account.country}  {privileges}"


def _settings_for_links(data: Path | None, database: str | None) -> Settings:
    """Load the settings with port and TLS of the running server, which may have been started with flags for them."""
    settings = settings_of(data, database=database)
    state = TlsFolder(settings.data).state()
    if state is not None and state.plan.domain == settings.domain:
        settings = msgspec.structs.replace(settings, tls=state.plan.chain or state.plan.mode)
    port = read_port(settings.data) if settings.is_local or settings.has_tls else None
    return settings if port is None else msgspec.structs.replace(settings, port=port)


@app.command("add")
@with_options
def add(
    call: Invocation,
    name: Name,
    email: Annotated[str, typer.Option("--email", metavar="E", help="E-mail address; not shown to other players.")],
    password: PasswordOption = None,
    country: Annotated[str, typer.Option("--country", metavar="XX", help="Two-letter country code.")] = "xx",
) -> None:
    """Add a player.

    Example: kiai users add "Some Player" --email me@example.org --country nl
    """
    out = call.out

    async def work(services: "Services") -> int:
        person = {"name": name, "email": email, "country": country.lower()}
        await services.accounts.check_new(**person)  # before the prompt, so that a wrong name fails first
        return await services.staff.register(OPERATOR, password=read_password(password), **person)

    user_id = call.run(work)
    out.result({"id": user_id, "name": name}, f"Added {name} with id {user_id}.")


@app.command("claim-code")
@with_options
def claim_code(
    call: Invocation,
    new: Annotated[bool, typer.Option("--new", help="Invalidate all codes and create a new one.")] = False,
) -> None:
    """Show the code that makes a player the owner: !claim CODE. Fails if there is an owner."""
    out = call.out

    async def work(services: "Services") -> "ClaimCode":
        return await services.ownership.claim_code(new=new)

    found = call.run(work)
    # The first line is only the code, for scripts without a JSON parser.
    out.result(
        {"code": found.code, "expires_at": found.expires_at_ms // 1000},
        found.code,
        f"Valid until {_time(found.expires_at_ms)} UTC. Send the bot this: !claim {found.code}",
    )


@app.command("grant")
@with_options
def grant(
    call: Invocation,
    name: Name,
    privileges: Annotated[list[str], typer.Argument(metavar="PRIVILEGE", help="Names of privileges.")],
) -> None:
    """Grant privileges, such as supporter or moderator."""
    out = call.out

    async def work(services: "Services") -> Account:
        return await services.staff.grant(OPERATOR, name, privileges)

    account = call.run(work)
    out.result(user_object(account), _line(account))


@app.command("revoke")
@with_options
def revoke(
    call: Invocation,
    name: Name,
    privileges: Annotated[list[str], typer.Argument(metavar="PRIVILEGE", help="Names of privileges.")],
) -> None:
    """Revoke privileges."""
    out = call.out

    async def work(services: "Services") -> Account:
        return await services.staff.revoke(OPERATOR, name, privileges)

    account = call.run(work)
    out.result(user_object(account), _line(account))


@app.command("apikey")
@with_options
def apikey(
    call: Invocation,
    name: Name,
    label: Annotated[str, typer.Option("--label", metavar="L", help="Purpose of the key.")] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Revoke all keys of the account instead.")] = False,
) -> None:
    """Create an API key. It is shown only once; the server stores a hash."""
    out = call.out
    if revoke:

        async def revoke_all(services: "Services") -> int:
            account = await services.accounts.account(name)
            return await services.site.own_keys.revoke_api_keys(account.id, OPERATOR_ORIGIN)

        revoked = call.run(revoke_all)
        out.result({"revoked": revoked}, f"Revoked {pluralized(revoked, 'key')} of {name}.")
        return

    async def work(services: "Services") -> str:
        account = await services.accounts.account(name)
        return await services.site.own_keys.create_api_key(account.id, label, OPERATOR_ORIGIN)

    key = call.run(work)
    out.result({"key": key}, key)


@app.command("irc-password")
@with_options
def irc_password(
    call: Invocation,
    name: Name,
    revoke: Annotated[bool, typer.Option("--revoke", help="Remove the password instead.")] = False,
) -> None:
    """Create a password for IRC, which replaces the old one. It is shown only once; the server stores a hash."""
    out = call.out

    async def work(services: "Services") -> str | None:
        account = await services.accounts.account(name)
        if account.id == BOT_ID:
            raise Refused("you can't do that to the bot")
        if revoke:
            await services.site.own_keys.remove_irc_password(account.id, OPERATOR_ORIGIN)
            return None
        return await services.site.own_keys.create_irc_password(account.id, OPERATOR_ORIGIN)

    password = call.run(work)
    if password is None:
        out.result({"revoked": True}, f"{name} has no IRC password now.")
    else:
        out.result({"irc_password": password}, password)


@app.command("chat-bot")
@with_options
def chat_bot(
    call: Invocation,
    name: Name,
    off: Annotated[bool, typer.Option("--off", help="Give the account the limits of a person again.")] = False,
) -> None:
    """Let an account send as many lines by IRC as a bot, from its next login on."""
    out = call.out

    async def work(services: "Services") -> Account:
        return await services.site.chat_bots.set(OPERATOR, name, on=not off)

    account = call.run(work)
    text = f"{account.name} has the limits of {'a person' if off else 'a chat bot'} now."
    out.result({"name": account.name, "chat_bot": not off}, text)


@app.command("show")
@with_options
def show(call: Invocation, name: Name) -> None:
    """Show an account."""
    out = call.out

    async def work(services: "Services") -> Account:
        return await services.accounts.account(name)

    account = call.run(work)
    out.result(user_object(account), *(f"{k:>16}: {v}" for k, v in user_object(account).items()))


@app.command("list")
@with_options
def list_(call: Invocation) -> None:
    """List all accounts, including the bot."""
    out = call.out

    async def work(services: "Services") -> list[Account]:
        accounts: list[Account] = []
        # In pages, so that a running server never waits for one long statement.
        while page := await services.accounts.accounts(after=accounts[-1].id if accounts else 0):
            accounts += page
        return accounts

    accounts = call.run(work)
    users = [user_object(account) for account in accounts]
    out.result({"users": users, "total": len(users)}, *map(_line, accounts))


@app.command("flags")
@with_options
def flags(call: Invocation, name: Name) -> None:
    """List the flags of an account, newest first."""
    out = call.out

    async def work(services: "Services") -> "list[IntegrityFlag]":
        account = await services.accounts.account(name)
        return await services.flags.page(user_id=account.id, limit=FLAGS_MAX)

    found = call.run(work)
    lines = [f"{_time(flag.at_ms)}  {flag.kind}: {flag.details}" for flag in found] or ["No flags."]
    objects = [
        {
            "at": flag.at_ms // 1000,
            "kind": flag.kind,
            "details": flag.details,
            "play": flag.checksum and flag.checksum.hex(),
        }
        for flag in found
    ]
    out.result({"flags": objects}, *lines)


@app.command("password")
@with_options
def password_(
    call: Invocation,
    name: Name,
    password: PasswordOption = None,
) -> None:
    """Set a new password. This ends the account's sessions and revokes its API keys."""
    out = call.out

    async def work(services: "Services") -> Account:
        account = await services.accounts.account(name)  # before the prompt, so that a wrong name fails first
        await services.site.entry.security.set_password(
            account, read_password(password), OPERATOR_ORIGIN, actor=OPERATOR
        )
        return account

    account = call.run(work)
    out.result(user_object(account), f"Set a new password for {account.name}.")


@app.command("invite")
def invite(
    uses: Annotated[int, typer.Option("--uses", metavar="N", help="Number of accounts that the code can create.")] = 1,
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="Time until the code expires, such as 12h, 7d or 4w.")
    ] = "7d",
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an invite code for a server with registration = "invite". It is shown only once.

    Example: kiai users invite --uses 5 --expires 2w
    """
    out = Output(as_json)

    async def work(services: "Services") -> tuple[str, str]:
        for_s = parse_duration(expires)
        if for_s is None:
            raise Invalid("expires", "a time up to a year, such as 12h, 7d or 4w", expires)
        invite = await services.site.entry.invites.create(OPERATOR, uses=uses, for_s=for_s)
        return invite.code, services.site.entry.letters.link(f"register?invite={invite.code}")

    code, url = with_services(out, lambda: _settings_for_links(data, database), work)
    out.result({"code": code, "url": url}, code, url)


@app.command("reset-link")
def reset_link(
    name: Name, data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False
) -> None:
    """Create a link with which the player sets a new password. It works once, for 30 minutes."""
    out = Output(as_json)

    async def work(services: "Services") -> str:
        return await services.site.entry.security.reset_link(OPERATOR, name)

    url = with_services(out, lambda: _settings_for_links(data, database), work)
    out.result({"url": url}, url)


@app.command("reset-second-factor")
@with_options
def reset_second_factor(call: Invocation, name: Name) -> None:
    """Remove the authenticator, the recovery codes and the passkeys of an account."""
    out = call.out

    async def work(services: "Services") -> Account:
        await services.site.entry.factors.reset(OPERATOR, name)
        return await services.accounts.account(name)

    account = call.run(work)
    out.result(user_object(account), f"{account.name} logs in with only the password now.")


@app.command("devices")
@with_options
def devices(call: Invocation, name: Name) -> None:
    """List other accounts that share hardware or an address with a player. Shows kinds of matches, never values."""
    out = call.out

    async def work(services: "Services") -> list["DeviceMatch"]:
        account = await services.accounts.account(name)
        return await services.community.devices.matches(OPERATOR, account)

    matches = call.run(work)
    lines = [
        f"{match.player.id:>8}  {match.player.name:<15}  {', '.join(match.kinds)}"
        f"{'  restricted' if match.player.restricted else ''}"
        for match in matches
    ]
    out.result({"matches": matches}, *lines, f"{pluralized(len(matches), 'account')}.")
