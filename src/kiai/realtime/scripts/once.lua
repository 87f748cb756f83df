-- now, key, for how long, most keys, entries
local now, key, for_s, most = time_of(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local ends = redis.call('ZSCORE', P .. 'once', key)
if ends and tonumber(ends) > now then return 0 end
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', P .. 'once', '-inf', now, 'LIMIT', 0, 2)) do
  redis.call('ZREM', P .. 'once', gone)
end
if redis.call('ZCARD', P .. 'once') >= most then redis.call('ZPOPMIN', P .. 'once') end
redis.call('ZADD', P .. 'once', now + for_s, key)
append(ARGV, 5)
return 1
