"""The services of profiles and rankings besides boards and stats, as one group."""

from kiai.clock import Clock
from kiai.realtime.port import Realtime
from kiai.scores.activity import ActivityLog
from kiai.scores.countries import Countries
from kiai.scores.history import History
from kiai.scores.peaks import Peaks
from kiai.scores.pins import Pins
from kiai.scores.player_scores import PlayerScores
from kiai.scores.top_plays import TopPlays
from kiai.storage.outbox import Outbox
from kiai.storage.port import Database


class Showcase:
    """The services, built once. `Ranks` must subscribe to the outbox before: peaks are compared with the new ranks."""

    def __init__(self, database: Database, realtime: Realtime, clock: Clock, outbox: Outbox) -> None:
        self.activity = ActivityLog(database, clock)
        self.countries = Countries(database, clock)
        self.peaks = Peaks(database, realtime, clock, outbox)
        self.history = History(database, realtime, clock, self.peaks)
        self.pins = Pins(database)
        self.player_scores = PlayerScores(database)
        self.top_plays = TopPlays(database)
