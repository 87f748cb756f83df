"""The first schema: accounts, clans, beatmaps, scores, stats, pools, and tables of the server itself."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BOT_ID = 1


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.Column("actor_id", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("target_kind", sa.String(length=16), nullable=False),
        sa.Column("target_id", Big, nullable=False),
        sa.Column("reason", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("details", sa.Text(), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_audit_log")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_log_actor", "audit_log", ["actor_id", "id"], unique=False)
    op.create_index("ix_audit_log_target", "audit_log", ["target_kind", "target_id", "id"], unique=False)
    op.create_table(
        "counters",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("value", Big, nullable=False),
        sa.PrimaryKeyConstraint("name", name=("pk_counters")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=("pk_outbox")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "progress",
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.PrimaryKeyConstraint("job", name=("pk_progress")),
    )
    op.create_table(
        "sets",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("artist", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("title", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("creator", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("source", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("tags", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("added_at_ms", Big, nullable=False),
        sa.Column("last_update_ms", Big, nullable=False),
        sa.Column("checked_at_ms", Big, nullable=True),
        sa.PrimaryKeyConstraint("id", name=("pk_sets")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), sa.Identity(always=False, start=3), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("safe_name", sa.String(length=32), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("priv", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("country", sa.String(length=2), server_default=sa.text("'xx'"), nullable=False),
        sa.Column("created_at_ms", Big, nullable=False),
        sa.Column("active_at_ms", Big, nullable=False),
        sa.Column("silenced_until_ms", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("donor_until_ms", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("banned_at_ms", Big, nullable=True),
        sa.Column("renamed_at_ms", Big, nullable=True),
        sa.Column("preferred_mode", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("play_style", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("clan_id", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("clan_priv", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("clan_joined_at_ms", Big, nullable=True),
        sa.Column("custom_badge_name", sa.Text(), nullable=True),
        sa.Column("custom_badge_icon", sa.Text(), nullable=True),
        sa.Column("userpage_content", sa.Text(), nullable=True),
        sa.Column("avatar", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=("pk_users")),
        sa.UniqueConstraint("email", name=("uq_users_email")),
        sa.UniqueConstraint("safe_name", name=("uq_users_safe_name")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_users_clan",
        "users",
        ["clan_id", "id"],
        unique=False,
        sqlite_where=sa.text("clan_id > 0"),
        postgresql_where=sa.text("clan_id > 0"),
    )
    op.create_index("ix_users_country", "users", ["country", "id"], unique=False)
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("label", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.Column("created_at_ms", Big, nullable=False),
        sa.Column("used_at_ms", Big, nullable=True),
        sa.Column("revoked_at_ms", Big, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=("fk_api_keys_user_id")),
        sa.PrimaryKeyConstraint("id", name=("pk_api_keys")),
        sa.UniqueConstraint("hash", name=("uq_api_keys_hash")),
        sqlite_autoincrement=True,
    )
    op.create_index(("ix_api_keys_user_id"), "api_keys", ["user_id"], unique=False)
    op.create_table(
        "clans",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("safe_name", sa.String(length=32), nullable=False),
        sa.Column("tag", sa.String(length=8), nullable=False),
        sa.Column("owner_id", sa.Integer(), nullable=False),
        sa.Column("created_at_ms", Big, nullable=False),
        sa.Column("joining", sa.Integer(), server_default=sa.text("2"), nullable=False),
        sa.Column("description", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=("fk_clans_owner_id")),
        sa.PrimaryKeyConstraint("id", name=("pk_clans")),
        sa.UniqueConstraint("safe_name", name=("uq_clans_safe_name")),
        sa.UniqueConstraint("tag", name=("uq_clans_tag")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "integrity_flags",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("at_ms", Big, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("checksum", sa.LargeBinary(), nullable=True),
        sa.Column("details", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=("fk_integrity_flags_user_id")),
        sa.PrimaryKeyConstraint("id", name=("pk_integrity_flags")),
        sqlite_autoincrement=True,
    )
    op.create_index(("ix_integrity_flags_user_id"), "integrity_flags", ["user_id"], unique=False)
    op.create_table(
        "maps",
        sa.Column("key", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.Integer(), nullable=False),
        sa.Column("md5", sa.String(length=32), nullable=False),
        sa.Column("current", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("status", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("frozen", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("artist", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("title", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("version", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("creator", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("filename", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("last_update_ms", Big, nullable=False),
        sa.Column("total_length", sa.Integer(), nullable=False),
        sa.Column("hit_length", sa.Integer(), nullable=False),
        sa.Column("max_combo", sa.Integer(), nullable=False),
        sa.Column("objects", sa.Integer(), nullable=False),
        sa.Column("bpm", sa.Double(), nullable=False),
        sa.Column("cs", sa.Double(), nullable=False),
        sa.Column("od", sa.Double(), nullable=False),
        sa.Column("ar", sa.Double(), nullable=False),
        sa.Column("hp", sa.Double(), nullable=False),
        sa.Column("diff", sa.Double(), nullable=False),
        sa.Column("plays", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("passes", Big, server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["set_id"], ["sets.id"], name=("fk_maps_set_id")),
        sa.PrimaryKeyConstraint("key", name=("pk_maps")),
        sa.UniqueConstraint("md5", name=("uq_maps_md5")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_maps_filename",
        "maps",
        ["filename"],
        unique=False,
        sqlite_where=sa.text('"current" = 1'),
        postgresql_where=sa.text('"current" = 1'),
    )
    op.create_index("ix_maps_set", "maps", ["set_id", "id"], unique=False)
    op.create_index(
        "uq_maps_current",
        "maps",
        ["id"],
        unique=True,
        sqlite_where=sa.text('"current" = 1'),
        postgresql_where=sa.text('"current" = 1'),
    )
    op.create_table(
        "medals",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("medal_id", sa.Integer(), nullable=False),
        sa.Column("unlocked_at_ms", Big, nullable=False),
        sa.Column("score_id", Big, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=("fk_medals_user_id")),
        sa.PrimaryKeyConstraint("user_id", "medal_id", name=("pk_medals")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "old_names",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("safe_name", sa.String(length=32), nullable=False),
        sa.Column("released_at_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=("fk_old_names_user_id")),
        sa.PrimaryKeyConstraint("id", name=("pk_old_names")),
        sqlite_autoincrement=True,
    )
    op.create_index(("ix_old_names_safe_name"), "old_names", ["safe_name"], unique=False)
    op.create_index(("ix_old_names_user_id"), "old_names", ["user_id"], unique=False)
    op.create_table(
        "pools",
        sa.Column("id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at_ms", Big, nullable=False),
        sa.Column("created_by", sa.Integer(), nullable=False),
        sa.Column("published", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=("fk_pools_created_by")),
        sa.PrimaryKeyConstraint("id", name=("pk_pools")),
        sa.UniqueConstraint("name", name=("uq_pools_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "rank_history",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("country_rank", sa.Integer(), nullable=False),
        sa.Column("pp", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=("fk_rank_history_user_id")),
        sa.PrimaryKeyConstraint("user_id", "mode", "day", name=("pk_rank_history")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "relationships",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("target_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Integer(), nullable=False),
        sa.Column("added_at_ms", Big, nullable=False),
        sa.CheckConstraint("kind IN (1, 2)", name=op.f("ck_relationships_kind")),
        sa.ForeignKeyConstraint(["target_id"], ["users.id"], name=("fk_relationships_target_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=("fk_relationships_user_id")),
        sa.PrimaryKeyConstraint("user_id", "target_id", name=("pk_relationships")),
    )
    op.create_index("ix_relationships_target", "relationships", ["target_id", "kind", "user_id"], unique=False)
    op.create_table(
        "stats",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("tscore", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("rscore", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("pp", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("plays", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("bests", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("playtime", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("acc", sa.Double(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_combo", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("total_hits", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("replay_views", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("xh_count", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("x_count", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("sh_count", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("s_count", Big, server_default=sa.text("0"), nullable=False),
        sa.Column("a_count", Big, server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=("fk_stats_user_id")),
        sa.PrimaryKeyConstraint("user_id", "mode", name=("pk_stats")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_stats_acc",
        "stats",
        ["mode", sa.literal_column("acc DESC"), "user_id"],
        unique=False,
        sqlite_where=sa.text("acc > 0"),
        postgresql_where=sa.text("acc > 0"),
    )
    op.create_index(
        "ix_stats_country_acc",
        "stats",
        ["country", "mode", sa.literal_column("acc DESC"), "user_id"],
        unique=False,
        sqlite_where=sa.text("acc > 0"),
        postgresql_where=sa.text("acc > 0"),
    )
    op.create_index(
        "ix_stats_country_plays",
        "stats",
        ["country", "mode", sa.literal_column("plays DESC"), "user_id"],
        unique=False,
        sqlite_where=sa.text("plays > 0"),
        postgresql_where=sa.text("plays > 0"),
    )
    op.create_index(
        "ix_stats_country_playtime",
        "stats",
        ["country", "mode", sa.literal_column("playtime DESC"), "user_id"],
        unique=False,
        sqlite_where=sa.text("playtime > 0"),
        postgresql_where=sa.text("playtime > 0"),
    )
    op.create_index(
        "ix_stats_country_pp",
        "stats",
        ["country", "mode", sa.literal_column("pp DESC"), "user_id"],
        unique=False,
        sqlite_where=sa.text("pp > 0"),
        postgresql_where=sa.text("pp > 0"),
    )
    op.create_index(
        "ix_stats_country_rscore",
        "stats",
        ["country", "mode", sa.literal_column("rscore DESC"), "user_id"],
        unique=False,
        sqlite_where=sa.text("rscore > 0"),
        postgresql_where=sa.text("rscore > 0"),
    )
    op.create_index(
        "ix_stats_country_tscore",
        "stats",
        ["country", "mode", sa.literal_column("tscore DESC"), "user_id"],
        unique=False,
        sqlite_where=sa.text("tscore > 0"),
        postgresql_where=sa.text("tscore > 0"),
    )
    op.create_index(
        "ix_stats_plays",
        "stats",
        ["mode", sa.literal_column("plays DESC"), "user_id"],
        unique=False,
        sqlite_where=sa.text("plays > 0"),
        postgresql_where=sa.text("plays > 0"),
    )
    op.create_index(
        "ix_stats_playtime",
        "stats",
        ["mode", sa.literal_column("playtime DESC"), "user_id"],
        unique=False,
        sqlite_where=sa.text("playtime > 0"),
        postgresql_where=sa.text("playtime > 0"),
    )
    op.create_index(
        "ix_stats_pp",
        "stats",
        ["mode", sa.literal_column("pp DESC"), "user_id"],
        unique=False,
        sqlite_where=sa.text("pp > 0"),
        postgresql_where=sa.text("pp > 0"),
    )
    op.create_index(
        "ix_stats_rscore",
        "stats",
        ["mode", sa.literal_column("rscore DESC"), "user_id"],
        unique=False,
        sqlite_where=sa.text("rscore > 0"),
        postgresql_where=sa.text("rscore > 0"),
    )
    op.create_index(
        "ix_stats_tscore",
        "stats",
        ["mode", sa.literal_column("tscore DESC"), "user_id"],
        unique=False,
        sqlite_where=sa.text("tscore > 0"),
        postgresql_where=sa.text("tscore > 0"),
    )
    op.create_table(
        "difficulties",
        sa.Column("map_key", sa.Integer(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("mods", sa.Integer(), nullable=False),
        sa.Column("calculator", sa.String(length=32), nullable=False),
        sa.Column("stars", sa.Double(), nullable=False),
        sa.Column("max_combo", sa.Integer(), nullable=False),
        sa.Column("attributes", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["map_key"], ["maps.key"], name=("fk_difficulties_map_key")),
        sa.PrimaryKeyConstraint("map_key", "mode", "mods", name=("pk_difficulties")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "play_counts",
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("map_key", sa.Integer(), nullable=False),
        sa.Column("plays", sa.Integer(), nullable=False),
        sa.Column("last_play_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["map_key"], ["maps.key"], name=("fk_play_counts_map_key")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=("fk_play_counts_user_id")),
        sa.PrimaryKeyConstraint("user_id", "mode", "map_key", name=("pk_play_counts")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_play_counts_most_played",
        "play_counts",
        ["user_id", "mode", sa.literal_column("plays DESC"), sa.literal_column("last_play_ms DESC")],
        unique=False,
    )
    op.create_table(
        "pool_picks",
        sa.Column("pool_id", sa.Integer(), nullable=False),
        sa.Column("mods", sa.String(length=16), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("map_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["pools.id"], name=("fk_pool_picks_pool_id")),
        sa.PrimaryKeyConstraint("pool_id", "mods", "slot", name=("pk_pool_picks")),
        sa.UniqueConstraint("pool_id", "map_id", name=("uq_pool_picks_pool_id_map_id")),
    )
    op.create_table(
        "scores",
        sa.Column("id", Big, sa.Identity(always=False), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("map_key", sa.Integer(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("mods", sa.Integer(), nullable=False),
        sa.Column("mods_key", sa.Integer(), nullable=False),
        sa.Column("score", Big, nullable=False),
        sa.Column("pp", sa.Double(), nullable=False),
        sa.Column("acc", sa.Double(), nullable=False),
        sa.Column("max_combo", sa.Integer(), nullable=False),
        sa.Column("n300", sa.Integer(), nullable=False),
        sa.Column("n100", sa.Integer(), nullable=False),
        sa.Column("n50", sa.Integer(), nullable=False),
        sa.Column("nmiss", sa.Integer(), nullable=False),
        sa.Column("ngeki", sa.Integer(), nullable=False),
        sa.Column("nkatu", sa.Integer(), nullable=False),
        sa.Column("grade", sa.String(length=2), nullable=False),
        sa.Column("passed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("perfect", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("best_pp", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("best_score", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("best_mods", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("hidden", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("play_time_ms", Big, nullable=False),
        sa.Column("time_elapsed", sa.Integer(), nullable=False),
        sa.Column("client_version", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("client_flags", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("checksum", sa.LargeBinary(), nullable=False),
        sa.Column("calculator", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["map_key"], ["maps.key"], name=("fk_scores_map_key")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=("fk_scores_user_id")),
        sa.PrimaryKeyConstraint("id", name=("pk_scores")),
        sa.UniqueConstraint("checksum", name=("uq_scores_checksum")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_scores_best_of",
        "scores",
        ["user_id", "mode", sa.literal_column("pp DESC"), sa.literal_column("id DESC")],
        unique=False,
        sqlite_where=sa.text("best_pp = 1"),
        postgresql_where=sa.text("best_pp = 1"),
    )
    op.create_index(
        "ix_scores_board",
        "scores",
        ["map_key", "mode", sa.literal_column("score DESC"), "id"],
        unique=False,
        sqlite_where=sa.text("best_score = 1"),
        postgresql_where=sa.text("best_score = 1"),
    )
    op.create_index(
        "ix_scores_mods_board",
        "scores",
        ["map_key", "mode", sa.literal_column("score DESC"), "id"],
        unique=False,
        sqlite_where=sa.text("best_mods = 1"),
        postgresql_where=sa.text("best_mods = 1"),
    )
    op.create_index(
        "ix_scores_mods_pp_board",
        "scores",
        ["map_key", "mode", sa.literal_column("pp DESC"), "id"],
        unique=False,
        sqlite_where=sa.text("best_mods = 1"),
        postgresql_where=sa.text("best_mods = 1"),
    )
    op.create_index(
        "ix_scores_pp_board",
        "scores",
        ["map_key", "mode", sa.literal_column("pp DESC"), "id"],
        unique=False,
        sqlite_where=sa.text("best_pp = 1"),
        postgresql_where=sa.text("best_pp = 1"),
    )
    op.create_index("ix_scores_recent_of", "scores", ["user_id", "mode", sa.literal_column("id DESC")], unique=False)
    op.create_index(
        "ix_scores_recent_on",
        "scores",
        ["map_key", "mode", sa.literal_column("play_time_ms DESC"), sa.literal_column("id DESC")],
        unique=False,
        sqlite_where=sa.text("best_score = 1"),
        postgresql_where=sa.text("best_score = 1"),
    )
    op.create_index(
        "uq_scores_best_mods",
        "scores",
        ["map_key", "mode", "user_id", "mods_key"],
        unique=True,
        sqlite_where=sa.text("best_mods = 1"),
        postgresql_where=sa.text("best_mods = 1"),
    )
    op.create_index(
        "uq_scores_best_pp",
        "scores",
        ["map_key", "mode", "user_id"],
        unique=True,
        sqlite_where=sa.text("best_pp = 1"),
        postgresql_where=sa.text("best_pp = 1"),
    )
    op.create_index(
        "uq_scores_best_score",
        "scores",
        ["map_key", "mode", "user_id"],
        unique=True,
        sqlite_where=sa.text("best_score = 1"),
        postgresql_where=sa.text("best_score = 1"),
    )
    op.create_table(
        "first_places",
        sa.Column("map_key", sa.Integer(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("score_id", Big, nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("since_ms", Big, nullable=False),
        sa.ForeignKeyConstraint(["map_key"], ["maps.key"], name=("fk_first_places_map_key")),
        sa.ForeignKeyConstraint(["score_id"], ["scores.id"], name=("fk_first_places_score_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=("fk_first_places_user_id")),
        sa.PrimaryKeyConstraint("map_key", "mode", name=("pk_first_places")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_first_places_of", "first_places", ["user_id", "mode", "score_id"], unique=False)
    op.create_table(
        "replays",
        sa.Column("score_id", Big, autoincrement=False, nullable=False),
        sa.Column("md5", sa.LargeBinary(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("life_bar", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("target_accuracy", sa.Double(), nullable=True),
        sa.Column("views", Big, server_default=sa.text("0"), nullable=False),
        sa.ForeignKeyConstraint(["score_id"], ["scores.id"], name=("fk_replays_score_id")),
        sa.PrimaryKeyConstraint("score_id", name=("pk_replays")),
        sa.UniqueConstraint("md5", name=("uq_replays_md5")),
    )

    _bot_and_counters()


def _bot_and_counters() -> None:
    bot = sa.table(
        "users", *[sa.column(c) for c in ("id", "name", "safe_name", "email", "priv", "created_at_ms", "active_at_ms")]
    )
    op.execute(
        bot.insert().values(
            id=BOT_ID, name="BanchoBot", safe_name="banchobot", email="1", priv=1, created_at_ms=0, active_at_ms=0
        )
    )
    if op.get_bind().dialect.name == "sqlite":  # PostgreSQL: Identity(start=3)
        # Id 2 is never given out: the game client treats it as the game's author.
        op.execute("UPDATE sqlite_sequence SET seq = 2 WHERE name = 'users'")
    op.execute("INSERT INTO counters (name, value) VALUES ('users', 0)")
