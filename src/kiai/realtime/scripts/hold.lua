-- now, key, holder, for how long
local now, key, holder, for_s = time_of(ARGV[1]), P .. 'h:' .. ARGV[2], ARGV[3], tonumber(ARGV[4])
local was = redis.call('HMGET', key, 'holder', 'ends')
if was[1] and was[1] ~= holder and tonumber(was[2]) > now then return 0 end
redis.call('HSET', key, 'holder', holder, 'ends', string.format('%.17g', now + for_s))
redis.call('PEXPIRE', key, math.ceil(for_s * 1000) + 1000)
return 1
