"""The bot's commands: chat text in, a verb of a subject, words out."""
