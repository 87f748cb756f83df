"""Evidence against cheating: figures, pairs of scores and verdicts of flags; signatures of replays."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    empty, zero = sa.text("''"), sa.text("0")
    for column in (
        sa.Column("score_id", _big),
        sa.Column("other_score_id", _big, server_default=zero, nullable=False),
        sa.Column("figures", sa.Text(), server_default=empty, nullable=False),
        sa.Column("state", sa.Integer(), server_default=zero, nullable=False),
        sa.Column("verdict", sa.Text(), server_default=empty, nullable=False),
        sa.Column("closed_by", sa.Integer()),
        sa.Column("closed_at_ms", _big),
        sa.Column("text", sa.Text(), server_default=empty, nullable=False),
    ):
        op.add_column("integrity_flags", column)
    # The play of a flag is known by its checksum. A refused copy has the checksum of another player's play.
    op.execute(
        "UPDATE integrity_flags SET score_id = (SELECT scores.id FROM scores"
        " WHERE scores.checksum = integrity_flags.checksum AND scores.user_id = integrity_flags.user_id)"
        " WHERE checksum IS NOT NULL"
    )
    op.drop_index("ix_integrity_flags_user_id", "integrity_flags")
    op.create_index("ix_integrity_flags_of", "integrity_flags", ["user_id", "id"])
    op.create_index("ix_integrity_flags_kind", "integrity_flags", ["kind", "id"])
    op.create_index("ix_integrity_flags_state", "integrity_flags", ["state", "id"])
    where = sa.text("score_id IS NOT NULL")
    op.create_index(
        "uq_integrity_flags_score",
        "integrity_flags",
        ["score_id", "kind", "other_score_id"],
        unique=True,
        sqlite_where=where,
        postgresql_where=where,
    )
    op.create_table(
        "unexamined_plays",
        sa.Column("score_id", _big, autoincrement=False, nullable=False),
        sa.Column("due_at_ms", _big, server_default=zero, nullable=False),
        sa.Column("tries", _big, server_default=zero, nullable=False),
        sa.PrimaryKeyConstraint("score_id", name="pk_unexamined_plays"),
    )
    op.create_index("ix_unexamined_plays_due", "unexamined_plays", ["due_at_ms", "score_id"])
    op.create_table(
        "replay_signatures",
        sa.Column("score_id", _big, autoincrement=False, nullable=False),
        sa.Column("map_key", sa.Integer(), nullable=False),
        sa.Column("mode", sa.Integer(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("score", _big, nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["map_key"], ["maps.key"], name="fk_replay_signatures_map_key"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_replay_signatures_user_id"),
        sa.PrimaryKeyConstraint("score_id", name="pk_replay_signatures"),
    )
    op.create_index(
        "ix_replay_signatures_best", "replay_signatures", ["map_key", "mode", sa.text("score DESC"), "score_id"]
    )
