"""The command `kiai init`: the first run of a server."""

import asyncio
import contextlib
import grp
import os
import pwd
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from kiai.cli.common import (
    DatabaseOption,
    DataOption,
    JsonOption,
    Output,
    TlsKeyOption,
    TlsOption,
    errors_as_exit,
    read_password,
    run_with_services,
)
from kiai.errors import Refused, Unavailable
from kiai.machine.checks import check_domain
from kiai.machine.open_files import needed_files
from kiai.osu.names import email_fault, name_fault, password_fault
from kiai.server_settings import CONFIG_FILE, HTTP_PORT, LOCAL_DOMAIN, TLS_PORT, Settings
from kiai.settings import BadSettings, load_settings, load_without_file
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.machine.facts import MachineReport, RunningServer

FILE_MODE: Final = 0o600  # the URL of a database contains a password
UNIT_MODE: Final = 0o644  # a unit contains no secret, and systemd shows it to everybody
PRIVILEGED_BELOW: Final = 1024
UNPRIVILEGED_PORT: Final = 8443
EVERY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 (the server of a public domain)
LOCAL_PROXY: Final = ("127.0.0.1/32",)


class _Choices(msgspec.Struct):
    """The options, and the answers to questions about the others."""

    domain: str | None
    tls: str | None
    tls_key: str | None
    port: int | None
    data: Path | None
    database: str | None
    registration: str | None
    upstream: str | None
    owner: str | None
    email: str | None
    password: str | None
    unit: Path | None


class _Made(msgspec.Struct):
    """The state of the data: the claim code, if a public server has no owner, and the server that runs on the data."""

    claim_code: str | None
    running: "RunningServer | None"


def init(
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; other options have their defaults.")] = False,
    domain: Annotated[
        str | None,
        typer.Option("--domain", metavar="D", show_default=LOCAL_DOMAIN, help="Domain under which players reach it."),
    ] = None,
    tls: TlsOption = None,
    tls_key: TlsKeyOption = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", metavar="N", min=0, max=65535, show_default="8080; with --tls 443", help="Port to listen on."
        ),
    ] = None,
    owner: Annotated[str | None, typer.Option("--owner", metavar="NAME", help="Create the owner's account.")] = None,
    email: Annotated[str | None, typer.Option("--email", metavar="E", help="E-mail address of the owner.")] = None,
    password: Annotated[
        str | None, typer.Option("--password", metavar="P", help="Password of the owner; by default read from stdin.")
    ] = None,
    registration: Annotated[
        str | None,
        typer.Option(
            "--registration",
            metavar="on|off|invite",
            show_default="on",
            help="Whether players create accounts.",
        ),
    ] = None,
    upstream: Annotated[
        str | None, typer.Option("--upstream", metavar="URL", help="Server from which unknown maps are fetched.")
    ] = None,
    systemd: Annotated[
        Path | None, typer.Option("--systemd", metavar="FILE", help="Write a systemd unit; FILE ends in .service.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite kiai.toml and the unit.")] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set up a server in this folder: write kiai.toml, create the data, check the machine, say what is missing.

    Example: kiai init --domain kiai.example --tls auto
    """
    out = Output(as_json)
    choices = _Choices(
        domain, tls, tls_key, port, data, database, registration, upstream, owner, email, password, systemd
    )
    with errors_as_exit(out):
        _check_files(choices.unit, force=force)
        if not yes:
            _ask(choices)
        _check_owner(choices, asks=not yes)
        settings, values = _choose_settings(choices)
        with _replacing(Path(CONFIG_FILE), values):
            made = _make(settings, choices)
        if choices.unit is not None:
            _write_unit(choices.unit, settings)
        from kiai.cli.machine import examine_new
        from kiai.machine.unit import OPEN_FILES

        unit_files = None if choices.unit is None else max(OPEN_FILES, needed_files(settings.connections_max))
        report = examine_new(settings, made.running, unit_files=unit_files)
        _show(out, settings, choices, made, report)


# --- before anything is written


def _check_files(unit: Path | None, *, force: bool) -> None:
    """Raise Refused if a file that this command writes exists, or if the server would not read `kiai.toml`."""
    if os.environ.get("KIAI_CONFIG") and Path(os.environ["KIAI_CONFIG"]).absolute() != Path(CONFIG_FILE).absolute():
        raise Refused(
            f"KIAI_CONFIG names another file, which `kiai serve` would read instead of {CONFIG_FILE}; unset it"
        )
    if unit is not None and (unit.suffix != ".service" or not unit.absolute().parent.is_dir()):
        raise Refused(f"--systemd must be a file in an existing folder whose name ends in .service, got {unit}")
    for file in filter(None, (Path(CONFIG_FILE), unit)):
        if file.is_dir():
            raise Refused(f"{file} is a folder; remove it, or run `kiai init` in another folder")
        if (file.exists() or file.is_symlink()) and not force:
            raise Refused(f"{file} already exists; overwrite it with --force, or run `kiai init` in another folder")
        if not os.access(file.absolute().parent, os.W_OK | os.X_OK):
            raise Unavailable(f"folder {file.absolute().parent}", "this account cannot write to it; choose another")


def _check_owner(choices: _Choices, *, asks: bool) -> None:
    if choices.owner is None:
        if choices.email is not None or choices.password is not None:
            raise typer.BadParameter("--email and --password need --owner")
        return
    if choices.email is None:
        raise typer.BadParameter("--owner needs --email")
    if choices.password is None and not asks and sys.stdin.isatty():
        raise typer.BadParameter("--owner needs --password, or the password on stdin")
    # Before the password is read. The account is made much later.
    from kiai.accounts.service import check_person

    check_person(name=choices.owner, email=choices.email)
    choices.password = read_password(choices.password)


def _choose_settings(choices: _Choices) -> tuple[Settings, dict[str, object]]:
    """Return the settings, and the values for `kiai.toml`. Raises BadSettings, and Refused for a bad certificate."""
    given: dict[str, object] = {
        "domain": choices.domain,
        "tls": choices.tls,
        "tls_key": choices.tls_key,
        "port": choices.port,
        "data": choices.data,
        "database": choices.database,
        "registration": choices.registration,
        "upstream_url": choices.upstream,
    }
    settings = load_without_file(**given)
    if (wrong := check_domain(settings.domain)) is not None:
        raise BadSettings(f"domain must be {wrong}; got {settings.domain}")
    if choices.tls is None and not os.environ.get("KIAI_TLS"):
        given["tls"] = _default_tls(settings.domain)
    settings = load_without_file(**given)
    if not settings.is_local:
        # A server without TLS is behind a proxy on this machine; any other one is reached from outside.
        given |= {"host": EVERY_ADDRESS} if settings.has_tls else {"trusted_proxy": LOCAL_PROXY}
    elif settings.has_tls and choices.port is None and choices.unit is None and _is_forbidden(settings):
        given["port"] = UNPRIVILEGED_PORT
    settings = load_without_file(**given)
    _check_certificate(settings)
    values = dict(given) | {
        "domain": settings.domain,
        "tls": settings.tls,
        "tls_key": choices.tls_key and settings.tls_key,
        "data": str(settings.data),
        "registration": settings.registration,
    }
    return settings, values


def _default_tls(domain: str) -> str:
    return "auto" if "." in domain else "off"


def _is_forbidden(settings: Settings) -> bool:
    from kiai.machine.facts import probe_port

    return probe_port(settings.host, settings.port) == "forbidden"


def _check_certificate(settings: Settings) -> None:
    from kiai.clock import SystemClock
    from kiai.tls.folder import TlsFolder
    from kiai.tls.plan import plan_of

    plan = plan_of(settings)
    if plan.mode == "file":
        from kiai.tls.serving import read_fitting

        read_fitting(plan, TlsFolder(settings.data), SystemClock().now_ms())


# --- questions


def _ask(choices: _Choices) -> None:
    """Ask for the options that were not given. An answer that is not allowed is asked for again."""
    if choices.domain is None:
        choices.domain = _answer("Domain of the server (localhost: only this machine)", LOCAL_DOMAIN, _domain)
    if choices.tls is None:
        default = _default_tls(choices.domain)
        domain = choices.domain
        question = "Certificate for https: auto (Let's Encrypt), self (for tests), off (a proxy has it), or a path"
        choices.tls = _answer(question, default, lambda text: _checked(text, "tls", domain=domain, tls=text))
    if choices.data is None:
        choices.data = Path(_answer("Data folder", "data", lambda text: _checked(text, "data", data=text)))
    if choices.registration is None:
        question = "Registration: on (everybody), invite (with a code), off"
        choices.registration = _answer(question, "on", lambda text: _checked(text, "registration", registration=text))
    if choices.upstream is None:
        question = "Server that unknown maps are fetched from (a URL with API v1; empty: none)"
        answer = _answer(question, "", lambda text: _checked(text, "upstream_url", upstream_url=text or None))
        choices.upstream = answer or None
    if choices.owner is None:
        question = "Name of the owner's account (empty: none now)"
        choices.owner = _answer(question, "", lambda text: _without(name_fault(text) if text else None, text)) or None
    if choices.owner is not None and choices.email is None:
        choices.email = _answer("E-mail address of the owner", None, lambda text: _without(email_fault(text), text))
    if choices.owner is not None and choices.password is None and sys.stdin.isatty():
        name, email = choices.owner, choices.email or ""
        choices.password = _answer(
            "Password of the owner",
            None,
            lambda text: _without(password_fault(text, name=name, email=email), text),
            hidden=True,
        )


def _answer(question: str, default: str | None, check: Callable[[str], str], *, hidden: bool = False) -> str:
    # On stderr: with --json, stdout has only the object.
    return str(
        typer.prompt(
            question,
            default=default,
            value_proc=check,
            err=True,
            show_default=bool(default),
            hide_input=hidden,
            confirmation_prompt=hidden,
        )
    )


def _without(fault: str | None, text: str) -> str:
    if fault is not None:
        raise typer.BadParameter(f"must be {fault}")
    return text


def _domain(text: str) -> str:
    checked = _checked(text.strip().lower().rstrip("."), "domain", domain=text.strip().lower().rstrip("."))
    if (wrong := check_domain(checked)) is not None:
        raise typer.BadParameter(f"must be {wrong}")
    return checked


def _checked(text: str, name: str, **given: object) -> str:
    try:
        load_without_file(**given)
    except BadSettings as error:
        raise typer.BadParameter(str(error).replace(f" (--{name.replace('_', '-')})", "")) from None
    return text


# --- the files, the data, the account


@contextlib.contextmanager
def _replacing(file: Path, values: Mapping[str, object]) -> Iterator[None]:
    """Write `kiai.toml` if the block succeeds. An account that cannot be created leaves the file as it was."""
    from kiai.settings_pages import config_text

    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "w", encoding="utf-8") as made:
            made.write(config_text(values))
        yield
        temporary.replace(file)
    except OSError as error:
        raise Unavailable(f"file {file}", f"{error.strerror}; choose another folder") from error
    finally:
        temporary.unlink(missing_ok=True)


def _make(settings: Settings, choices: _Choices) -> _Made:
    """Create the data, and the account of the owner. Raises Invalid and Conflict for the account."""
    from kiai.cli.machine import running_server
    from kiai.stores import migrate_database

    async def work(services: "Services") -> _Made:
        if choices.owner is not None:
            await services.staff.register(
                OPERATOR, name=choices.owner, email=choices.email or "", password=choices.password or "", country="xx"
            )
            await services.staff.grant(OPERATOR, choices.owner, ["owner"])
        code = None
        if not settings.is_local:
            with contextlib.suppress(Refused):  # the server has an owner
                code = (await services.ownership.claim_code()).code
        return _Made(code, running_server(settings) if await services.is_served() else None)

    asyncio.run(migrate_database(settings))
    return run_with_services(lambda: settings, work, create=True)


def _write_unit(file: Path, settings: Settings) -> None:
    from kiai.machine.unit import UnitPlan, unit_text

    owner = settings.data.stat()
    own_files = [] if settings.files is None or settings.files.startswith("s3://") else [Path(settings.files)]
    plan = UnitPlan(
        user=_name_of(pwd.getpwuid, owner.st_uid),
        group=_name_of(grp.getgrgid, owner.st_gid),
        folder=Path.cwd(),
        command=[sys.executable, "-P", "-m", "kiai", "serve"],
        writable=[folder.absolute() for folder in (settings.data, *own_files)],
        low_ports=any(0 < port < PRIVILEGED_BELOW for port in _ports(settings)),
        open_files=needed_files(settings.connections_max),
    )
    try:
        file.write_text(unit_text(plan), "utf-8")
        file.chmod(UNIT_MODE)
    except OSError as error:
        raise Unavailable(f"file {file}", f"{error.strerror}; choose another with --systemd") from error


def _ports(settings: Settings) -> list[int]:
    if not settings.has_tls or settings.http_port == "off":
        return [settings.port]
    return [settings.port, HTTP_PORT if settings.http_port is None else settings.http_port]


def _name_of(read: Callable[[int], Any], number: int) -> str:
    try:
        return str(read(number)[0])
    except KeyError:  # an account of a container, which systemd takes as a number
        return str(number)


# --- what was made, and what is missing


def _find_problems(settings: Settings, choices: _Choices, report: "MachineReport") -> list[str]:
    from kiai.machine.unit import check_unit

    problems = [f"{one.name}: {one.detail}" for one in report.checks if one.ok is False]
    if choices.unit is not None:
        problems += [f"unit: {line}" for line in check_unit(choices.unit)]
        if settings.data.stat().st_uid == 0:
            problems.append(
                f"unit: it runs the server as root, which owns {settings.data}; give the folder to an account of its "
                "own with chown, and name it in User= and Group="
            )
    served = load_settings()
    for origin in served.origins:
        if origin.source == "environment" and getattr(served, origin.name) != getattr(settings, origin.name):
            problems.append(f"settings: {origin.place} overrides {origin.name} of {CONFIG_FILE}; unset it")
    return problems


def _show(out: Output, settings: Settings, choices: _Choices, made: _Made, report: "MachineReport") -> None:
    from kiai.cli.machine import check_line

    problems = _find_problems(settings, choices, report)
    config, unit = Path(CONFIG_FILE).absolute(), choices.unit and choices.unit.absolute()
    players = f"osu!.exe -devserver {settings.domain}"
    found = {
        "config": str(config),
        "data": str(settings.data.absolute()),
        "domain": settings.domain,
        "address": settings.site_url,
        "players": players,
        "dns": [{"name": one.name, "type": one.type, "value": one.value, "ok": one.ok} for one in report.records],
        "claim_code": made.claim_code,
        "unit": None if unit is None else str(unit),
        "problems": problems,
    }
    lines = [f"Wrote {config}. The data is in {settings.data.absolute()}.", *_record_lines(settings, report)]
    lines += ["", "Checks:", *(check_line(one) for one in report.checks if not _is_dns(one.name))]
    if problems:
        lines += ["", "Problems:", *(f"  {problem}" for problem in problems)]
    lines += ["", *_next_lines(settings, choices, made, unit)]
    out.result(found, *lines)


def _is_dns(name: str) -> bool:
    return name.startswith("dns:")


def _record_lines(settings: Settings, report: "MachineReport") -> list[str]:
    if settings.is_local:
        return []
    from kiai.cli.machine import shown

    width = max(len(one.name) for one in report.records)
    return [
        "",
        f"DNS records (one for *.{settings.domain} can replace all but the first):",
        *(
            f"  {one.name:<{width}}  {one.type:<4}  {one.value or 'the public address of this server'}  "
            f"{shown(one.ok)}: {one.detail}"
            for one in report.records
        ),
    ]


def _next_lines(settings: Settings, choices: _Choices, made: _Made, unit: Path | None) -> list[str]:
    if unit is None:
        lines = [f"Start:    kiai serve    (in {Path.cwd()})"]
    else:
        link = "" if unit.parent == Path("/etc/systemd/system") else f"systemctl link {unit} && "
        lines = [f"Start:    {link}systemctl daemon-reload && systemctl enable --now {unit.name}"]
    lines += [f"Open:     {settings.site_url}", f"Players:  osu!.exe -devserver {settings.domain}"]
    if choices.owner is not None:
        lines.append(f"Owner:    {choices.owner}")
    elif made.claim_code is not None:
        lines.append(f"Owner:    the player who sends the bot this in the game: !claim {made.claim_code}")
    elif settings.first_player_owns:
        lines.append("Owner:    the first player who logs in")
    if settings.tls == "self":
        lines.append("Trust:    players import the file that `kiai tls export root.pem` writes after the first start")
    if settings.has_tls and settings.port not in (0, TLS_PORT):
        lines.append(f"Port:     game clients connect to port {TLS_PORT} only; forward it to port {settings.port}")
    if not settings.has_tls and not settings.is_local:
        lines.append(f"Proxy:    it must serve https and pass requests to {settings.host}:{settings.port}")
    return lines
