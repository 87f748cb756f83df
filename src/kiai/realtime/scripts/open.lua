-- now, most, token, user, shown, the session (6), how many topics, topics, entries for one who comes online, entries
local now, most, token, user, shown = time_of(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
if not redis.call('ZSCORE', P .. 'seen', token) and redis.call('ZCARD', P .. 'seen') >= most then return 0 end
close(token)
local comes = not online(user)
local at = store(token, ARGV, 6)
redis.call('HSET', P .. 's:' .. token, 'v', 1, 'u', user, 'h', shown)
redis.call('ZADD', P .. 'seen', now, token)
redis.call('SADD', P .. 'u:' .. user, token)
if shown == '1' then redis.call('HINCRBY', P .. 'shown', user, 1) end
local count = tonumber(ARGV[at])
for n = 1, count do follow(token, shown, ARGV[at + n]) end
at = at + count + 1
if comes then append(ARGV, at) end
append(ARGV, behind(ARGV, at))
return 1
