-- Sets a once-key and appends entries, for the first caller only.
-- ARGV: now, key, duration in seconds, maximum of keys, entries.
-- Returns the number of the last change (`changed` in common.lua) and 1 to the first caller, 0 to others until the key
-- ends.
local now, key, for_s, most = time_of(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ends = redis.call('ZSCORE', P .. 'once', key)
if ends and tonumber(ends) > now then return {0, 0} end
-- One sorted set instead of keys with a TTL, so that the number of keys has a bound. Up to two expired keys leave for
-- each new one, which lets the set shrink at a constant cost.
for _, expired in ipairs(redis.call('ZRANGEBYSCORE', P .. 'once', '-inf', now, 'LIMIT', 0, 2)) do
  redis.call('ZREM', P .. 'once', expired)
end
if redis.call('ZCARD', P .. 'once') >= most then redis.call('ZPOPMIN', P .. 'once') end
redis.call('ZADD', P .. 'once', now + for_s, key)
append(ARGV, 5)
return {changes, 1}
