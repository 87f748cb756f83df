"""The settings of players: `/settings/{profile,avatar,name,privacy,api-keys,irc,data}`.

Each form has its own path. A refused form is answered with its page and the errors, an accepted one with a redirect
back to the page. Keys and passwords are shown once, in the answer to the form that created them.
"""
