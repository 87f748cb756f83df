"""`kiai users ...`"""

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from kiai.accounts import BOT_ID, Account
from kiai.cli.common import (
    DatabaseOption,
    DataOption,
    JsonOption,
    Out,
    counted,
    settings_of,
    settle_without_server,
    with_services,
)
from kiai.errors import Invalid
from kiai.osu.privileges import Privilege, privilege_names
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.scores.flags import RaisedFlag
    from kiai.staff.ownership import ClaimCode

app = typer.Typer(help="Accounts: adding, privileges, API keys, restriction.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The account's name; quote one with spaces.")]
PasswordOption = Annotated[str | None, typer.Option("--password", help="Asked for when not given.", metavar="P")]


def user_object(account: Account) -> dict[str, object]:
    """An account as `--json` shows it; `created_at` in unix seconds."""
    shown: dict[str, object] = {
        "id": account.id,
        "name": account.name,
        "safe_name": account.safe_name,
        "email": account.email if account.id != BOT_ID else "",
        "priv": account.priv,
        "country": account.country,
        "restricted": not account.priv & Privilege.UNRESTRICTED,
        "created_at": account.created_at_ms // 1000,
    }
    if account.id == BOT_ID:
        shown["bot"] = True
    return shown


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _line(account: Account) -> str:
    marks = ", ".join(privilege_names(account.priv)) or "restricted"
    return f"{account.id:>8}  {account.name:<15}  {account.country}  {marks}"


def _password(given: str | None) -> str:
    if given is None:
        if sys.stdin.isatty():
            given = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
        else:
            given = sys.stdin.readline().rstrip("\r\n")
    if not given:
        raise Invalid("password", "given with --password, or typed or piped in", given)
    return given


@app.command("add")
def add(
    name: Name,
    email: Annotated[str, typer.Option("--email", metavar="E", help="Never shown to others.")],
    password: PasswordOption = None,
    country: Annotated[str, typer.Option("--country", metavar="XX", help="Two letters.")] = "xx",
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Adds a player. Example: kiai users add "Some Player" --email me@example.org --country nl"""
    out = Out(as_json)

    async def work(services: "Services") -> int:
        # Whom the operator adds by hand needs no first login to be verified.
        return await services.accounts.register(
            name=name,
            email=email,
            password=_password(password),
            country=country.lower(),
            priv=int(Privilege.UNRESTRICTED | Privilege.VERIFIED),
        )

    user_id = with_services(out, lambda: settings_of(data, database=database), work)
    out.result({"id": user_id, "name": name}, f"Added {name} with id {user_id}.")


@app.command("claim-code")
def claim_code(
    new: Annotated[bool, typer.Option("--new", help="Ends every code there is and makes another one.")] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Shows the code that makes a player the owner, who sends it to the bot: !claim CODE. Fails once there is one."""
    out = Out(as_json)

    async def work(services: "Services") -> "ClaimCode":
        return await services.ownership.claim_code(new=new)

    found = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(
        {"code": found.code, "expires_at": found.expires_at_ms // 1000},
        found.code,
        f"Valid until {_day(found.expires_at_ms)} UTC. Send the bot this: !claim {found.code}",
    )


@app.command("grant")
def grant(
    name: Name,
    privileges: Annotated[list[str], typer.Argument(metavar="PRIVILEGE...")],
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Adds privileges, such as supporter, nominator, moderator, administrator, developer, owner."""
    out = Out(as_json)

    async def work(services: "Services") -> Account:
        return await services.staff.grant(OPERATOR, name, privileges)

    account = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(user_object(account), _line(account))


@app.command("revoke")
def revoke(
    name: Name,
    privileges: Annotated[list[str], typer.Argument(metavar="PRIVILEGE...")],
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Takes privileges away."""
    out = Out(as_json)

    async def work(services: "Services") -> Account:
        return await services.staff.revoke(OPERATOR, name, privileges)

    account = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(user_object(account), _line(account))


@app.command("apikey")
def apikey(
    name: Name,
    label: Annotated[str, typer.Option("--label", metavar="L", help="What the key is for.")] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="Ends all keys of the account instead.")] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Makes an API key. It is shown this once and stored as a hash."""
    out = Out(as_json)
    if revoke:

        async def end(services: "Services") -> int:
            account = await services.accounts.account(name)
            return await services.api_keys.revoke_all(account.id)

        ended = with_services(out, lambda: settings_of(data, database=database), end)
        out.result({"revoked": ended}, f"Ended {counted(ended, 'key')} of {name}.")
        return

    async def work(services: "Services") -> str:
        account = await services.accounts.account(name)
        return await services.api_keys.issue(account.id, label)

    key = with_services(out, lambda: settings_of(data, database=database), work)
    out.result({"key": key}, key)


@app.command("show")
def show(name: Name, data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Shows one account."""
    out = Out(as_json)

    async def work(services: "Services") -> Account:
        return await services.accounts.account(name)

    account = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(user_object(account), *(f"{k:>11}: {v}" for k, v in user_object(account).items()))


@app.command("list")
def list_(data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Lists every account, the bot included."""
    out = Out(as_json)

    async def work(services: "Services") -> list[Account]:
        found: list[Account] = []
        while page := await services.accounts.accounts(after=found[-1].id if found else 0):
            found += page
        return found

    found = with_services(out, lambda: settings_of(data, database=database), work)
    out.result({"users": [user_object(one) for one in found], "total": len(found)}, *map(_line, found))


@app.command("restrict")
def restrict(
    name: Name,
    reason: Annotated[str, typer.Option("--reason", metavar="R", help="Kept in the audit log.")],
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hides an account and its scores everywhere, at once; the player may go on playing."""
    out = Out(as_json)

    async def work(services: "Services") -> Account:
        account = await services.staff.restrict(OPERATOR, name, reason)
        await settle_without_server(out, services)
        return account

    account = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(user_object(account), f"Restricted {account.name}.")


@app.command("flags")
def flags(name: Name, data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Lists what was odd about an account's plays and clients, newest first; nothing follows from it by itself."""
    out = Out(as_json)

    async def work(services: "Services") -> "list[RaisedFlag]":
        account = await services.accounts.account(name)
        return await services.flags.of(account.id)

    found = with_services(out, lambda: settings_of(data, database=database), work)
    lines = [f"{_day(one.at_ms)}  {one.kind}: {one.details}" for one in found] or ["There are none."]
    shown = [
        {"at": one.at_ms // 1000, "kind": one.kind, "details": one.details, "play": one.checksum and one.checksum.hex()}
        for one in found
    ]
    out.result({"flags": shown}, *lines)


@app.command("unrestrict")
def unrestrict(
    name: Name, data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False
) -> None:
    """Lifts a restriction: the account and its scores are back everywhere."""
    out = Out(as_json)

    async def work(services: "Services") -> Account:
        account = await services.staff.unrestrict(OPERATOR, name)
        await settle_without_server(out, services)
        return account

    account = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(user_object(account), f"Lifted the restriction of {account.name}.")


@app.command("password")
def password_(
    name: Name,
    password: PasswordOption = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Sets a new password. The account's API keys end with the old one."""
    out = Out(as_json)

    async def work(services: "Services") -> Account:
        account = await services.accounts.account(name)
        await services.accounts.set_password(
            account.id, password=_password(password), name=account.name, email=account.email
        )
        return account

    account = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(user_object(account), f"Set a new password for {account.name}.")
