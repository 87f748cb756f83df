-- Returns units to a bucket.
-- ARGV: now, bucket, limit, period in seconds, units.
local now, bucket = time_of(ARGV[1]), ARGV[2]
local unit = tonumber(ARGV[4]) / tonumber(ARGV[3])
local full_at = tonumber(redis.call('HGET', P .. 'bk', bucket) or 'nil')
-- A bucket that is full, or was dropped, cannot receive units.
if full_at and full_at > now then
  full_at = math.max(now, full_at - tonumber(ARGV[5]) * unit)
  redis.call('HSET', P .. 'bk', bucket, string.format('%.17g', full_at))
end
return 0
