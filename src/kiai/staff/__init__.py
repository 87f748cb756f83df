"""What staff does to others, from any face: restricting, privileges, statuses; each verb with its audit row.

Owns the tables `audit_log` and `reports`.
"""

from kiai.staff.audit import OPERATOR, Actor
from kiai.staff.service import Staff

__all__ = ["OPERATOR", "Actor", "Staff"]
