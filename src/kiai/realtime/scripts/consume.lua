-- Consumes units of a bucket if it has that many. buckets.py explains the algorithm: a bucket is the time at which it
-- will be full.
-- ARGV: now, bucket, limit, period in seconds, capacity, cost, maximum of buckets.
-- Returns granted (1 or 0), units left, seconds. The last two are texts: a number in a reply is cut to an integer.
local ROUNDING_SLACK = 0.001
local now, bucket, limit, period = time_of(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local capacity, cost, most = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local full_at = tonumber(redis.call('HGET', P .. 'bk', bucket) or 'nil')
if not full_at then
  -- Drop up to two buckets for the new one, so that the table shrinks. One hash for all buckets has no TTL per bucket;
  -- full ones equal missing ones, and at the bound the one unused for the longest time goes.
  for _, oldest in ipairs(redis.call('ZRANGE', P .. 'bk:u', 0, 1)) do
    if tonumber(redis.call('HGET', P .. 'bk', oldest)) <= now or redis.call('HLEN', P .. 'bk') >= most then
      redis.call('HDEL', P .. 'bk', oldest)
      redis.call('ZREM', P .. 'bk:u', oldest)
    end
  end
  full_at = now
elseif full_at < now then
  full_at = now
end
local unit = period / limit
local left = capacity - (full_at - now) / unit - cost
local granted = left > -ROUNDING_SLACK
if granted then full_at = full_at + cost * unit end
-- 17 digits: Lua's default of 14 would round a time in seconds to 0.1 ms and let the bucket drift.
redis.call('HSET', P .. 'bk', bucket, string.format('%.17g', full_at))
-- Sorted by a counter, not by time: two uses in the same microsecond have an order too. A refusal counts as use.
redis.call('ZADD', P .. 'bk:u', redis.call('INCR', P .. 'bk:n'), bucket)
if granted then
  return {1, string.format('%.17g', left), string.format('%.17g', full_at - now)}
end
return {0, string.format('%.17g', left + cost), string.format('%.17g', -left * unit)}
