"""kiai: an osu! private server."""

__version__ = "0.1.0"
