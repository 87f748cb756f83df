"""Mailing: mails of the server to its players, sent through the operator's SMTP server. Writes `outgoing_mails`."""

from kiai.mailing.service import Mailing, Message

__all__ = ["Mailing", "Message"]
