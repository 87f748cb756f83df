"""The acts of staff on an account as forms. Each calls the verb that the bot, the API and the command line call."""

from kiai.accounts import BOT_ID, User
from kiai.entry.recovery_by_staff import RecoveryByStaff
from kiai.faces.site.admin.acts import DURATION, OPTIONAL_REASON, REASON, Act, Field, Secret, Values
from kiai.osu.durations import parse_duration
from kiai.osu.modes import MODES, mode_text
from kiai.osu.privileges import DONATOR, ROLES, UNRESTRICTED
from kiai.own_account.deletion_by_staff import DeletionByStaff
from kiai.staff import Actor, Staff
from kiai.staff.content_removal import ContentRemoval
from kiai.staff.donors import TIERS, Donors
from kiai.staff.naming import Naming
from kiai.staff.notes import Notes
from kiai.staff.reasons import REASON_MAX
from kiai.staff.sanctions import Sanctions
from kiai.staff.service import SET_ROLES
from kiai.staff.wipes import Wipes

PATH = "/admin/users"
LENGTH = Field("duration", "Duration", "duration", required=False, help="Empty: without an end.")
FREEZE_LENGTH = Field("duration", "Duration", "duration", required=False, help="Empty: 7 days.")
MODE = Field(
    "mode",
    "Mode",
    "choice",
    options=(("all", "All modes"), *((str(mode), mode_text(mode)) for mode in MODES)),
    value="all",
)
ALLOWS = {
    "verified": "may write in the chat; every account is after its first login",
    "whitelisted": "no automatic acts against cheating",
    "alumni": "a former member of staff; allows nothing",
    "tournament": "referees every match, keeps mappools",
    "nominator": "sets statuses of maps, answers requests",
    "moderator": "silences, kicks, notes, reports, flags",
    "administrator": "restricts, bans, renames, reads the audit log",
    "developer": "everything",
}


class UserActs:
    """Declares the acts."""

    def __init__(
        self,
        sanctions: Sanctions,
        staff: Staff,
        donors: Donors,
        naming: Naming,
        notes: Notes,
        wipes: Wipes,
        content: ContentRemoval,
        recovery: RecoveryByStaff,
        deletion: DeletionByStaff,
    ) -> None:
        self._sanctions = sanctions
        self._staff = staff
        self._donors = donors
        self._naming = naming
        self._notes = notes
        self._wipes = wipes
        self._content = content
        self._recovery = recovery
        self._deletion = deletion

    def declared(self) -> list[Act[User]]:
        """Return the acts, in the order of the page."""
        rename = Field("name", "New name", most=32)
        country = Field("country", "Country", most=2, help="Two letters of ISO 3166-1.")
        roles = Field(
            "privileges",
            "Privileges",
            "boxes",
            required=False,
            options=tuple((role, role) for role in SET_ROLES),
            explained=ALLOWS,
        )
        tier = Field("tier", "Tier", "choice", options=tuple((tier, tier.capitalize()) for tier in TIERS))
        text = Field("text", "Note", "textarea", most=REASON_MAX, help="Other staff reads it; the player does not.")
        return [
            self._sanction("silence", "Silence", "users.silence", "{name} is silenced.",
                           "The player cannot write in the chat until the silence ends.", (DURATION, REASON),
                           "unsilence"),
            self._sanction("unsilence", "Lift silence", "users.silence", "{name} is unsilenced.",
                           "The player can write in the chat again.", (OPTIONAL_REASON,)),
            self._sanction("kick", "Kick", "users.kick", "{name} is kicked.",
                           "All sessions of the player in the game end. The player can log in again."),
            self._sanction("restrict", "Restrict", "users.restrict", "{name} is restricted.",
                           "The account and its scores are hidden from everybody else.", (LENGTH, REASON),
                           "unrestrict"),
            self._sanction("unrestrict", "Lift restriction", "users.restrict", "{name} is unrestricted.",
                           "The account and its scores become visible again.", (OPTIONAL_REASON,), "restrict"),
            self._sanction("ban", "Ban", "users.ban", "{name} is banned.",
                           "The account is hidden and locked: sessions end, API keys and IRC passwords are revoked.",
                           undo="unban"),
            self._sanction("unban", "Lift ban", "users.ban", "{name} is unbanned, and still restricted.",
                           "The player can log in again. The account stays restricted.", (OPTIONAL_REASON,)),
            self._sanction("freeze", "Freeze", "users.freeze", "{name} is frozen.",
                           "The player is asked to prove something. The account is restricted when the time runs out.",
                           (FREEZE_LENGTH, REASON), "unfreeze"),
            self._sanction("unfreeze", "Lift freeze", "users.freeze", "{name} is unfrozen.",
                           "The account will not be restricted by the freeze.", (OPTIONAL_REASON,)),
            Act("note", "Note", "users.notes", "The note about {name} is stored.",
                "A note is stored. Nobody can change it later.", self._note, (text,)),
            Act("rename", "Rename", "users.rename_other", "The account is now named {name}.",
                "The sessions of the player end. The old name stays reserved for 90 days.", self._rename, (rename,),
                present=lambda user: {rename.name: user.name}),
            Act("country", "Change country", "users.country", "{name} has another country.",
                "The scores and ranks of the player move to the new country.", self._country, (country,),
                present=lambda user: {"country": user.country.upper()}),
            Act("reset-link", "Reset link", "users.recover", "",
                "The link sets a new password. It works once, for 30 minutes.", self._reset_link),
            Act("reset-second-factor", "Reset second factor", "users.recover",
                "{name} logs in with only the password now.",
                "The authenticator, the recovery codes and the passkeys are removed.", self._reset_second_factor),
            Act("avatar", "Remove avatar", "avatars.delete", "The avatar of {name} is removed.",
                "The picture is deleted.", self._remove_avatar),
            Act("cover", "Remove cover", "avatars.delete", "The cover of {name} is removed.",
                "The picture is deleted.", self._remove_cover),
            Act("userpage", "Remove userpage", "avatars.delete", "The userpage of {name} is removed.",
                "The text is deleted.", self._remove_userpage),
            Act("privileges", "Privileges", "users.privileges", "The privileges of {name} are saved.",
                "The account has exactly the checked privileges from now on.", self._privileges, (roles, REASON),
                button="Save privileges"),
            Act("donor", "Give donor time", "donors.manage", "{name} has donor time.",
                "The time is added to what is left.", self._give_donor, (tier, DURATION), "end-donor"),
            Act("end-donor", "End donor time", "donors.manage", "The donor time of {name} has ended.",
                "The privileges of supporters end now.", self._end_donor, (OPTIONAL_REASON,)),
            Act("wipe", "Wipe scores", "scores.wipe", "The scores of {name} are hidden.",
                "All scores of the player until now are hidden. Later plays count. It can be undone.",
                self._wipe, (MODE, REASON), "restore", danger=True),
            Act("restore", "Restore scores", "scores.wipe", "The scores of {name} are visible again.",
                "The scores that wipes hide are shown again.", self._restore, (MODE, REASON)),
            Act("delete", "Delete account", "users.delete", "",
                "The account is made anonymous at once. This cannot be undone.", self._delete, (), danger=True,
                home=PATH),
        ]  # fmt: skip

    def _sanction(
        self,
        kind: str,
        title: str,
        permission: str,
        done: str,
        effect: str,
        fields: tuple[Field, ...] = (REASON,),
        undo: str = "",
    ) -> Act[User]:
        async def run(actor: Actor, user: User, values: Values) -> None:
            seconds = parse_duration(values["duration"]) if values.get("duration") else None
            await self._sanctions.apply(actor, kind, user.id, values.get("reason", ""), seconds)

        return Act(kind, title, permission, done, effect, run, fields, undo, danger=kind in ("restrict", "ban"))

    async def _note(self, actor: Actor, user: User, values: Values) -> None:
        await self._notes.add(actor, user.id, values["text"])

    async def _rename(self, actor: Actor, user: User, values: Values) -> None:
        # Staff decides about a reserved name, too.
        await self._naming.rename(actor, user.id, values["name"], force=True)

    async def _country(self, actor: Actor, user: User, values: Values) -> None:
        await self._naming.set_country(actor, user.id, values["country"])

    async def _reset_link(self, actor: Actor, user: User, values: Values) -> Secret:
        url = await self._recovery.reset_link(actor, user.id, values["reason"])
        return Secret(
            url, "data-reset-link", "Send this link to the player. It is shown once, and works for 30 minutes."
        )

    async def _reset_second_factor(self, actor: Actor, user: User, values: Values) -> None:
        await self._recovery.reset_second_factor(actor, user.id, values["reason"])

    async def _remove_avatar(self, actor: Actor, user: User, values: Values) -> None:
        await self._content.remove_avatar(actor, user.id, values["reason"])

    async def _remove_cover(self, actor: Actor, user: User, values: Values) -> None:
        await self._content.remove_cover(actor, user.id, values["reason"])

    async def _remove_userpage(self, actor: Actor, user: User, values: Values) -> None:
        await self._content.remove_userpage(actor, user.id, values["reason"])

    async def _privileges(self, actor: Actor, user: User, values: Values) -> None:
        await self._staff.set_privileges(actor, user.id, values["privileges"].split(), values["reason"])

    async def _give_donor(self, actor: Actor, user: User, values: Values) -> None:
        await self._donors.give(actor, user.id, parse_duration(values["duration"]) or 0, values["tier"])

    async def _end_donor(self, actor: Actor, user: User, values: Values) -> None:
        await self._donors.take(actor, user.id, values["reason"])

    async def _wipe(self, actor: Actor, user: User, values: Values) -> None:
        await self._wipes.wipe_user(actor, user.id, values["reason"], mode=_mode(values))

    async def _restore(self, actor: Actor, user: User, values: Values) -> None:
        await self._wipes.restore_user(actor, user.id, values["reason"], mode=_mode(values))

    async def _delete(self, actor: Actor, user: User, values: Values) -> None:
        await self._deletion.delete(actor, user.id)


def roles_of(user: User) -> list[str]:
    """Return the roles of `SET_ROLES` that the account has."""
    return [role for role in SET_ROLES if user.priv & ROLES[role]]


def possible_acts(user: User, now_ms: int) -> frozenset[str]:
    """Return the names of the acts that fit the state of the account."""
    if user.id == BOT_ID or user.deleted_at_ms is not None:
        return frozenset()
    always = {"kick", "note", "rename", "country", "reset-link", "reset-second-factor", "privileges", "donor"}
    names = {*always, "silence", "wipe", "restore", "delete"}
    if user.silenced_until_ms > now_ms:
        names.add("unsilence")
    if user.banned_at_ms is not None:
        names.add("unban")
    elif not user.priv & UNRESTRICTED:
        names |= {"unrestrict", "ban"}
    else:
        names |= {"restrict", "ban", "unfreeze" if user.freeze_until_ms else "freeze"}
    if user.priv & DONATOR or user.donor_until_ms:
        names.add("end-donor")
    if user.avatar:
        names.add("avatar")
    if user.cover:
        names.add("cover")
    if user.userpage_content:
        names.add("userpage")
    return frozenset(names)


def _mode(values: Values) -> int | None:
    return None if values["mode"] == "all" else int(values["mode"])
