"""The rows of long tables: the leaderboard of a map, the leaderboards of players and of plays.

PERF: a table has 50 rows of up to twelve cells. Templates take five times as long for them as these functions do. Cells
that do not depend on the visitor are cached. A page has at most 60 KB, so rows have no white space between cells, no
end tags of cells and rows, which HTML does not need, and no text twice. Style sheets choose cells by their number.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from markupsafe import Markup, escape

from kiai.beatmaps.model import MapStatus, MapSummary
from kiai.faces.site.formats import iso
from kiai.faces.site.locale import Locale
from kiai.faces.site.set_boards import BoardRow
from kiai.faces.site.signs import avatar_path, roles
from kiai.scores.model import Ranked, Score
from kiai.scores.top_plays import TopPlay

CELLS_MAX: Final = 4_096
"""Players and times in each cache of a language."""
BOARDS_MAX: Final = 32
"""Leaderboards of maps in the cache of a language, 50 KB each."""
MINUTE_MS: Final = 60_000
EMPHASISED: Final = 3
"""Number of places that are emphasised."""


class Drawings(msgspec.Struct, frozen=True):
    """The functions that draw the parts of cells."""

    flag: Callable[[str], Markup]
    icon: Callable[..., Markup]
    grade: Callable[[str], Markup]
    mods: Callable[[int], Markup]
    """Without a box around them."""


class Rows:
    """Draws rows in one language. `visitor_id` is 0 for a visitor without a session."""

    def __init__(self, locale: Locale, drawings: Drawings) -> None:
        self._locale = locale
        self._drawings = drawings
        self._player = functools.lru_cache(CELLS_MAX)(self._draw_player)
        self._moment = functools.lru_cache(CELLS_MAX)(_moment)
        self._boards: dict[tuple[int, bool, int, int], tuple[Sequence[BoardRow], Markup]] = {}

    def of_board(self, rows: Sequence[BoardRow], game: int, gives_pp: bool, visitor_id: int, now_ms: int) -> Markup:
        """Return the rows of a board of `SetBoards`, which visitors share. Times in words are at most a minute old."""
        # PERF: drawing costs 1 ms.
        if not any(row.line.user_id == visitor_id for row in rows):
            visitor_id = 0
        key = (id(rows), gives_pp, visitor_id, now_ms // MINUTE_MS)
        drawn = self._boards.get(key)
        if drawn is None:
            # With the rows themselves, so that no other object gets their id.
            drawn = (rows, self.board_rows(rows, game, gives_pp, visitor_id, now_ms))
            self._boards[key] = drawn
            if len(self._boards) > BOARDS_MAX:
                del self._boards[next(iter(self._boards))]
        return drawn[1]

    def board_rows(self, rows: Sequence[BoardRow], game: int, gives_pp: bool, visitor_id: int, now_ms: int) -> Markup:
        """Return rows of a map's leaderboard. `game` is the mode of the game, 0 to 3."""
        text, number, accuracy = self._locale.text, self._locale.formats.number, self._locale.formats.accuracy
        draw = self._drawings
        no_pp = f'<span title="{escape(text("This map gives no pp"))}">-</span>'
        replay = escape(text("Replay"))
        found = []
        for row in rows:
            line, place, acc = row.line, row.place, round(row.acc, 4)
            own, you = _self(text("you")) if line.user_id == visitor_id else ("", "")
            counts = (
                f"{line.ngeki}/{line.n300}/{line.nkatu}/{line.n100}/{line.n50}"
                if game == 3
                else f"{line.n300}/{line.n100}/{line.n50}"
            )
            file = f'<a class=replay href=/scores/{line.id}/replay title="{replay}"></a>' if line.has_replay else ""
            pp = f'<data value="{line.pp}" data-stat="pp">{number(round(line.pp))}</data>' if gives_pp else no_pp
            player = self._player(line.user_id, line.name, line.country, line.clan_id, line.tag)
            found.append(
                f'<tr{_top(place)} data-score-id="{line.id}" data-user-id="{line.user_id}"{own}>'
                f'<td><data value="{place}" data-stat="place">#{number(place)}</data>'
                f"<td>{draw.grade(row.grade)}<td>{player}{you}<td><a href=/scores/{line.id}>"
                f'<data value="{line.score}" data-stat="score">{number(line.score)}</data></a>'
                f'<td><data value="{acc}" data-stat="acc">{accuracy(row.acc)}</data>'
                f'<td><data value="{line.max_combo}" data-stat="max_combo">{number(line.max_combo)}x</data>'
                f"{' <b>FC</b>' if line.perfect else ''}<td>{counts}"
                f'<td><data value="{line.nmiss}" data-stat="nmiss">{line.nmiss}</data>'
                f"<td>{pp}<td>{draw.mods(line.mods)}<td>{self._ago(line.play_time_ms, now_ms)}<td>{file}"
            )
        return Markup("".join(found))  # noqa: S704  # names and texts are escaped, the rest are numbers

    def of_players(
        self, lines: Sequence[tuple[int | None, Ranked, int | None]], mode: int, sort: str, visitor_id: int
    ) -> Markup:
        """Return the rows of a leaderboard of players: place (None: unknown), player, places risen since yesterday."""
        text, number, accuracy = self._locale.text, self._locale.formats.number, self._locale.formats.accuracy
        plays_label = escape(text("Plays"))
        query = f"?mode={mode}" if mode else ""
        found = []
        for place, line, change in lines:
            own, you = _self(text("You")) if line.player_id == visitor_id else ("", "")
            player = self._player(line.player_id, line.name, line.country, line.clan_id, line.clan_tag, query=query)
            plays = f'<td class="num" data-label="{plays_label}">{number(line.plays)}' if sort != "plays" else ""
            main = getattr(line, sort)
            found.append(
                f'<tr{_top(place)} data-user-id="{line.player_id}"{own}>'
                f'<td class="place">{f"#{number(place)}" if place else "-"}{self._trend(change)}'
                f'<td class="who">{player}{you}<td class="num">{accuracy(line.acc)}{plays}'
                f'<td class="num" data-label="SS">{number(line.xh_count + line.x_count)}'
                f'<td class="num" data-label="S">{number(line.sh_count + line.s_count)}'
                f'<td class="num" data-label="A">{number(line.a_count)}'
                + (f'<td class="num" data-label="pp">{number(line.pp)}' if sort != "pp" else "")
                + f'<td class="num main"><data value="{main}" data-stat="{sort}">{number(main)}</data>\n'
            )
        return Markup("".join(found))  # noqa: S704  # names and texts are escaped, the rest are numbers

    def of_plays(self, rows: Sequence[tuple[int, TopPlay]], visitor_id: int, now_ms: int) -> Markup:
        """Return the rows of a leaderboard of plays: place and play."""
        formats, draw = self._locale.formats, self._drawings
        found = []
        for place, play in rows:
            score, beatmap, player = play.score, play.beatmap, play.player
            own = " data-self" if player.id == visitor_id else ""
            who = self._player(
                player.id, player.name, player.country, player.clan_id, player.clan_tag, player.clan_name, player.priv
            )
            acc, pp, ago = formats.accuracy(score.acc), formats.pp(score.pp), self._ago(score.play_time_ms, now_ms)
            title = escape(f"{beatmap.artist} - {beatmap.title} [{beatmap.version}]")
            found.append(
                f'<tr{_top(place)} data-score-id="{score.id}" data-map-id="{beatmap.id}"'
                f' data-user-id="{player.id}"{own}><td class="place">#{formats.number(place)}'
                f'<td class="who half"><span class="chip">{draw.grade(score.grade)}'
                f'<a class="name" href="/beatmapsets/{beatmap.set_id}?map={beatmap.id}">{title}</a></span>'
                f'<td>{who}<td class="shrink">{draw.mods(score.mods)}<td class="num">{acc}'
                f'<td class="shrink"><a class="faint" href="/scores/{score.id}">{ago}</a>'
                f'<td class="num main"><data value="{score.pp}" data-stat="pp">{pp}</data>\n'
            )
        return Markup("".join(found))  # noqa: S704  # names and titles are escaped, the rest are numbers

    def of_score(
        self,
        score: Score,
        beatmap: MapSummary | None,
        player: str,
        weight: float | None,
        first: bool,
        own: bool,
        more: str,
        now_ms: int,
    ) -> Markup:
        """Return a score in a list.

        - `beatmap`: None in a list of one map.
        - `player`: who played it, as HTML, or empty.
        - `weight`: percent of the pp that counts.
        - `first`: whether it is the best on its map.
        - `more`: HTML for the second line.
        """
        text, number = self._locale.text, self._locale.formats.number
        failed = score.grade == "F"
        title, combo = player, f"{number(score.max_combo)}x"
        sub = '<span class="first">#1</span>' if first else ""
        if beatmap is not None:
            title = (
                f'<a href="/beatmapsets/{beatmap.set_id}?map={beatmap.id}">{escape(beatmap.artist)} - '
                f'{escape(beatmap.title)} <span class="version">[{escape(beatmap.version)}]</span></a>'
            )
            sub = "".join((sub, player))  # `+` would escape the other part, because `player` is Markup
            if beatmap.max_combo:
                combo += f"/{number(beatmap.max_combo)}"
        if score.perfect:
            combo += " <b>FC</b>"
        sub += f'<a class="faint" href="/scores/{score.id}">{self._ago(score.play_time_ms, now_ms)}</a>'
        sub += f"<span>{combo}</span>"
        if score.nmiss:
            misses = self._locale.plural("%(num)s miss", "%(num)s misses", score.nmiss)
            sub += f'<span class="danger">{escape(misses)}</span>'
        if failed:
            sub += f"<strong>{escape(text('Failed'))}</strong>"
        mods = f'<span class="mods">{self._drawings.mods(score.mods)}</span>' if score.mods else ""
        map_id = f' data-map-id="{beatmap.id}"' if beatmap is not None else ""
        pp = self._pp(score.pp, 2 if beatmap is None else beatmap.status)
        if weight is not None:
            counted = self._locale.formats.pp(score.pp * weight / 100)
            pp += f'<small title="{escape(text("Weight in the total"))}">{number(weight)}% · {counted}pp</small>'
        return Markup(  # noqa: S704  # names and texts are escaped, `player` and `more` are HTML
            f'<li class="score{" failed" if failed else ""}" data-score-id="{score.id}"{map_id}'
            f"{' data-self' if own else ''}>{self._drawings.grade(score.grade)}"
            f'<div class="title">{title}</div>\n<div class="sub">{sub}{more}</div>\n{mods}'
            f'<div class="acc">{self._locale.formats.accuracy(score.acc)}</div>\n<div class="pp">{pp}</div></li>\n'
        )

    # --- cells

    def _pp(self, pp: float, status: int) -> str:
        """Return the pp of a score: a dash with the reason on maps that give none."""
        if status in (MapStatus.RANKED, MapStatus.APPROVED):
            return f'{self._locale.formats.pp(pp)}<span class="unit"> pp</span>'
        text = self._locale.text
        reason = text("Loved maps give no pp") if status == MapStatus.LOVED else text("This map gives no pp")
        return f'<span title="{escape(reason)}">-</span>'

    def _trend(self, change: int | None) -> str:
        if not change:
            return ""
        text = self._locale.text
        up, down = self._locale.text_in("rank", "up"), self._locale.text_in("rank", "down")
        kind, arrow, word = ("up", "↑", up) if change > 0 else ("down", "↓", down)
        return (
            f'<span class="trend {kind}" title="{escape(text("Since yesterday"))}">'
            f'<span class="hidden-text">{escape(word)}</span>{arrow}{self._locale.formats.number(abs(change))}</span>'
        )

    def _draw_player(
        self,
        user_id: int,
        name: str,
        country: str,
        clan_id: int | None,
        tag: str | None,
        clan_name: str | None = None,
        priv: int = 0,
        query: str = "",
    ) -> str:
        title = f' title="{escape(clan_name)}"' if clan_name else ""
        clan = f"<a class=tag href=/clans/{clan_id}{title}>[{escape(tag)}]</a>" if clan_id and tag else ""
        address = f'"/users/{user_id}{query}"' if query else f"/users/{user_id}"
        # The size of the picture is in the style sheet.
        return (
            f"<span class=chip><img class=avatar src={escape(avatar_path(user_id, name))} alt loading=lazy>"
            f"{self._drawings.flag(country)}{clan}"
            f"<a class=name href={address}>{escape(name)}</a>{self._marks(priv)}</span>"
        )

    def _marks(self, priv: int) -> str:
        """Return the marks next to a name: a supporter's star, the shield of staff."""
        text, icon, held = self._locale.text, self._drawings.icon, roles(priv)
        marks = (
            ("staff", "info", "shield", text("Staff")),
            ("supporter", "warn", "star", text("Supporter")),
        )
        return "".join(
            f'<span class="{kind}" title="{escape(word)}">{icon(sign, word)}</span>'
            for role, kind, sign, word in marks
            if role in held
        )

    def _ago(self, at_ms: int, now_ms: int) -> str:
        """Return a `<time>` element like the filter `ago`."""
        return f"{self._moment(at_ms)}{escape(self._locale.formats.relative(at_ms, now_ms))}</time>"


def _self(word: str) -> tuple[str, str]:
    """Return the attribute of the visitor's own row, and the word next to the name."""
    return " data-self", f'<span class="you">{escape(word)}</span>'


def _moment(at_ms: int) -> str:
    return f"<time datetime={iso(at_ms)}>"


def _top(place: int | None) -> str:
    return f' class="top-{place}"' if place and place <= EMPHASISED else ""
