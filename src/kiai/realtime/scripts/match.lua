-- Opens a match, or stores a changed one and appends the change's entries.
-- ARGV: 'open', maximum of matches, match. Returns the id, or 0 at the maximum.
-- ARGV: 'change', id, match as the worker read it, new match ('' closes it), entries.
--       Returns the number of the last change (`changed` in common.lua) and 1 stored | 0 another change came first,
--       read again | -1 no such match.
if ARGV[1] == 'open' then
  -- The lowest free id, because referees type it. At most a thousand attempts.
  for id = 1, tonumber(ARGV[2]) do
    if redis.call('HSETNX', P .. 'mt', id, ARGV[3]) == 1 then return id end
  end
  return 0
end
local match = redis.call('HGET', P .. 'mt', ARGV[2])
if not match then return {0, -1} end
if match ~= ARGV[3] then return {0, 0} end
if ARGV[4] == '' then redis.call('HDEL', P .. 'mt', ARGV[2]) else redis.call('HSET', P .. 'mt', ARGV[2], ARGV[4]) end
-- In the same script as the change: two workers could otherwise store changes 1, 2 and announce them as 2, 1, and
-- clients would show the older one.
append(ARGV, 5)
return {changes, 1}
