-- token, the version it was read at, a topic ('' for none) that nobody may follow, the session (6), topics it leaves, topics it follows, entries
local token = ARGV[1]
local was = redis.call('HMGET', P .. 's:' .. token, 'v', 'h')
if not was[1] then return -1 end
if was[1] ~= ARGV[2] then return 0 end
if ARGV[3] ~= '' and redis.call('EXISTS', topic_key(ARGV[3], 'r')) == 1 then return 2 end
local at = store(token, ARGV, 4)
redis.call('HINCRBY', P .. 's:' .. token, 'v', 1)
local count = tonumber(ARGV[at])
for n = 1, count do unfollow(token, was[2], ARGV[at + n]) end
at = at + count + 1
count = tonumber(ARGV[at])
for n = 1, count do follow(token, was[2], ARGV[at + n]) end
append(ARGV, at + count + 1)
return 1
