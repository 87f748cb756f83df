-- now, bucket, limit, period, capacity, cost, most buckets: granted, units left, seconds, as texts
local GRAIN = 0.001
local now, bucket, limit, period = time_of(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local capacity, cost, most = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local full_at = tonumber(redis.call('HGET', P .. 'bk', bucket) or 'nil')
if not full_at then
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
local granted = left > -GRAIN
if granted then full_at = full_at + cost * unit end
redis.call('HSET', P .. 'bk', bucket, string.format('%.17g', full_at))
redis.call('ZADD', P .. 'bk:u', redis.call('INCR', P .. 'bk:n'), bucket)
if granted then
  return {1, string.format('%.17g', left), string.format('%.17g', full_at - now)}
end
return {0, string.format('%.17g', left + cost), string.format('%.17g', -left * unit)}
