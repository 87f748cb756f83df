"""kiai: an osu! private server."""
