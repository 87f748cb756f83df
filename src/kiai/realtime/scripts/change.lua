-- Stores a changed session if it is still the version that the worker read, and appends the change's entries.
-- ARGV: token, version, topic that nobody may follow ('' for none), session (6 values), number of topics it leaves,
--       those topics, number of topics it joins, those topics, entries.
-- Returns the number of the last change (`changed` in common.lua) and 1 stored | 2 the topic has a follower
--         | 0 another version, read again | -1 no such session.
local token = ARGV[1]
local session = redis.call('HMGET', P .. 's:' .. token, 'v', 'h')
if not session[1] then return {0, -1} end
-- Before the check of the topic: the worker computed the change from an old version, so its question may be outdated.
if session[1] ~= ARGV[2] then return {0, 0} end
if ARGV[3] ~= '' and redis.call('EXISTS', topic_key(ARGV[3], 'r')) == 1 then return {0, 2} end
local at = store(token, ARGV, 4)
redis.call('HINCRBY', P .. 's:' .. token, 'v', 1)
changed('~' .. token)
local count = tonumber(ARGV[at])
for n = 1, count do unfollow(token, session[2], ARGV[at + n]) end
at = at + count + 1
count = tonumber(ARGV[at])
for n = 1, count do follow(token, session[2], ARGV[at + n]) end
-- After `follow`, so that the session reads the entries of topics that it has just joined.
append(ARGV, at + count + 1)
return {changes, 1}
