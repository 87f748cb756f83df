-- Acquires or renews a lease.
-- ARGV: now, key, holder, duration in seconds.
-- Returns 1, or 0 if another holder has it.
local now, key, holder, for_s = time_of(ARGV[1]), P .. 'h:' .. ARGV[2], ARGV[3], tonumber(ARGV[4])
local lease = redis.call('HMGET', key, 'holder', 'ends')
if lease[1] and lease[1] ~= holder and tonumber(lease[2]) > now then return 0 end
redis.call('HSET', key, 'holder', holder, 'ends', string.format('%.17g', now + for_s))
-- The TTL only removes abandoned leases. `ends` decides, so it comes a second later.
redis.call('PEXPIRE', key, math.ceil(for_s * 1000) + 1000)
return 1
