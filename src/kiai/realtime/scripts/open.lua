-- Opens a session, replacing one with the same token.
-- ARGV: now, maximum of sessions, token, user, '1' if others see it, session (6 values), number of topics, topics,
--       entries for a user who was not online, further entries.
-- Returns the number of the last change (`changed` in common.lua), or 0 at the maximum of sessions.
local now, most, token, user, visible = time_of(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
if not redis.call('ZSCORE', P .. 'seen', token) and redis.call('ZCARD', P .. 'seen') >= most then return 0 end
close(token)
-- After `close` and before HINCRBY: the replaced session no longer counts, and the new one does not count yet.
local arrives = not online(user)
local at = store(token, ARGV, 6)
redis.call('HSET', P .. 's:' .. token, 'v', 1, 'u', user, 'h', visible)
redis.call('ZADD', P .. 'seen', now, token)
redis.call('SADD', P .. 'u:' .. user, token)
if visible == '1' then redis.call('HINCRBY', P .. 'shown', user, 1) end
local count = tonumber(ARGV[at])
for n = 1, count do follow(token, visible, ARGV[at + n]) end
changed('~' .. token)
at = at + count + 1
if arrives then append(ARGV, at) end
append(ARGV, skip_entries(ARGV, at))
return changes
