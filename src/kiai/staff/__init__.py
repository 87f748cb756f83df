"""Acts of the staff: restrictions, silences, privileges, statuses, reports. Each act writes an audit row.

Owns the tables `audit_log` and `reports`.
"""

from kiai.staff.audit import OPERATOR, Actor
from kiai.staff.service import Staff

__all__ = ["OPERATOR", "Actor", "Staff"]
