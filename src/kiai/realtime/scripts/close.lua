-- Ends a session.
-- ARGV: token.
-- Returns the session's Struct, or nil if it has ended. Scripts run one after another, so exactly one caller gets the
-- Struct, and only that caller frees the player's slot and announces the log-out.
return close(ARGV[1])
