-- Appends entries to their topics, unless a user is online.
-- ARGV: user ('' for an append without condition), entries.
-- Returns the number of the last change (`changed` in common.lua), or 0 if the user is online.

-- The check is in the script: the user could log in between a check by the worker and the append, and the others would
-- then see a player online as offline.
if ARGV[1] ~= '' and online(ARGV[1]) then return 0 end
append(ARGV, 2)
return changes
