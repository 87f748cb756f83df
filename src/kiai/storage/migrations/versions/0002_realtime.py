"""The realtime server: logins and devices, chat and mail, the history of multiplayer matches."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

# Bits of `priv`, any one of which is enough: 1 unrestricted, 2 verified, 16 and 32 donors, 4096 moderator,
# 8192 administrator, 16384 developer (docs/spec/chat.md#channels).
CHANNELS = (
    ("#osu", "General discussion.", 1, 2, 1),
    ("#announce", "News of the server and of its first places.", 1, 8192 | 16384, 1),
    ("#lobby", "Looking for a multiplayer match.", 1, 2, 0),
    ("#supporter", "For those who support the server.", 16 | 32, 16 | 32, 0),
    ("#staff", "For everybody on the staff.", 4096 | 8192 | 16384, 4096 | 8192 | 16384, 1),
    ("#admin", "For administrators.", 8192 | 16384, 8192 | 16384, 1),
    ("#dev", "For developers.", 16384, 16384, 1),
)


def upgrade() -> None:
    op.add_column("users", sa.Column("friends_only_dms", sa.Integer(), server_default=sa.text("0"), nullable=False))
    _accounts()
    _chat()
    _matches()


def _accounts() -> None:
    op.create_table(
        "logins",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("build", sa.Integer(), nullable=False),
        sa.Column("stream", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_logins_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_logins"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_logins_of", "logins", ["user_id", "id"])
    op.create_table(
        "client_hashes",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("adapters", sa.String(length=32), nullable=False),
        sa.Column("uninstall", sa.String(length=32), nullable=False),
        sa.Column("disk", sa.String(length=32), nullable=False),
        sa.Column("wine", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("exe", sa.String(length=64), nullable=False),
        sa.Column("first_at_ms", Big, nullable=False),
        sa.Column("last_at_ms", Big, nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_client_hashes_user_id"),
        sa.PrimaryKeyConstraint("user_id", "adapters", "uninstall", "disk", "wine", name="pk_client_hashes"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_client_hashes_adapters", "client_hashes", ["adapters"])
    op.create_index("ix_client_hashes_uninstall", "client_hashes", ["uninstall"])
    op.create_index("ix_client_hashes_disk", "client_hashes", ["disk"])
    op.create_table(
        "shared_devices",
        sa.Column("hash", sa.String(length=32), nullable=False),
        sa.Column("note", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("added_by", sa.Integer(), nullable=False),
        sa.Column("added_at_ms", Big, nullable=False),
        sa.PrimaryKeyConstraint("hash", name="pk_shared_devices"),
    )


def _chat() -> None:
    channels = op.create_table(
        "channels",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("topic", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("read_priv", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("write_priv", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("auto_join", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("moderated", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("archived", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_channels"),
        sa.UniqueConstraint("name", name="uq_channels_name"),
        sqlite_autoincrement=True,
    )
    fields = ("name", "topic", "read_priv", "write_priv", "auto_join")
    op.bulk_insert(channels, [dict(zip(fields, row, strict=True)) for row in CHANNELS])
    op.create_table(
        "chat_lines",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_chat_lines_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_chat_lines"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_chat_lines_in", "chat_lines", ["channel", "id"])
    op.create_index("ix_chat_lines_by", "chat_lines", ["user_id", "id"])
    op.create_index("ix_chat_lines_at", "chat_lines", ["at_ms"])
    op.create_table(
        "mail",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("from_id", sa.Integer(), nullable=False),
        sa.Column("to_id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("sent_at_ms", Big, nullable=False),
        sa.Column("delivered_at_ms", Big, nullable=True),
        sa.Column("read_at_ms", Big, nullable=True),
        sa.ForeignKeyConstraint(["from_id"], ["users.id"], name="fk_mail_from_id"),
        sa.ForeignKeyConstraint(["to_id"], ["users.id"], name="fk_mail_to_id"),
        sa.PrimaryKeyConstraint("id", name="pk_mail"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_mail_between", "mail", ["to_id", "from_id", "id"])
    op.create_index(
        "ix_mail_undelivered",
        "mail",
        ["to_id", "id"],
        sqlite_where=sa.text("delivered_at_ms IS NULL"),
        postgresql_where=sa.text("delivered_at_ms IS NULL"),
    )


def _matches() -> None:
    op.create_table(
        "matches",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("room", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("private", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("by_command", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", Big, nullable=False),
        sa.Column("ended_at_ms", Big, nullable=True),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name="fk_matches_created_by"),
        sa.PrimaryKeyConstraint("id", name="pk_matches"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_matches_ended", "matches", ["ended_at_ms"])
    op.create_index("ix_matches_by", "matches", ["created_by", "id"])
    op.create_table(
        "match_players",
        sa.Column("match_id", Big, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["match_id"], ["matches.id"], name="fk_match_players_match_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_match_players_user_id"),
        sa.PrimaryKeyConstraint("match_id", "user_id", name="pk_match_players"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_match_players_of", "match_players", ["user_id", "match_id"])
    op.create_table(
        "match_events",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("match_id", Big, nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("details", sa.Text(), server_default=sa.text("'{}'"), nullable=False),
        sa.ForeignKeyConstraint(["match_id"], ["matches.id"], name="fk_match_events_match_id"),
        sa.PrimaryKeyConstraint("id", name="pk_match_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_match_events_in", "match_events", ["match_id", "id"])
    op.create_table(
        "games",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("match_id", Big, nullable=False),
        sa.Column("map_id", sa.Integer(), nullable=False),
        sa.Column("map_md5", sa.String(length=32), nullable=False),
        sa.Column("map_name", sa.Text(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("mods", sa.Integer(), nullable=False),
        sa.Column("win_condition", sa.Integer(), nullable=False),
        sa.Column("team_type", sa.Integer(), nullable=False),
        sa.Column("free_mods", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("started_at_ms", Big, nullable=False),
        sa.Column("ended_at_ms", Big, nullable=True),
        sa.Column("aborted", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["match_id"], ["matches.id"], name="fk_games_match_id"),
        sa.PrimaryKeyConstraint("id", name="pk_games"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_games_in", "games", ["match_id", "id"])
    op.create_table(
        "game_scores",
        sa.Column("game_id", Big, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("team", sa.Integer(), nullable=False),
        sa.Column("mods", sa.Integer(), nullable=False),
        sa.Column("score", Big, nullable=False),
        sa.Column("max_combo", sa.Integer(), nullable=False),
        sa.Column("n300", sa.Integer(), nullable=False),
        sa.Column("n100", sa.Integer(), nullable=False),
        sa.Column("n50", sa.Integer(), nullable=False),
        sa.Column("ngeki", sa.Integer(), nullable=False),
        sa.Column("nkatu", sa.Integer(), nullable=False),
        sa.Column("nmiss", sa.Integer(), nullable=False),
        sa.Column("passed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("perfect", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("score_id", Big, nullable=True),
        sa.ForeignKeyConstraint(["game_id"], ["games.id"], name="fk_game_scores_game_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_game_scores_user_id"),
        sa.PrimaryKeyConstraint("game_id", "user_id", name="pk_game_scores"),
        sqlite_with_rowid=False,
    )
