-- Reads or writes a stash: a hash whose fields expire together.
-- ARGV: now, key. Returns field, value, field, value, ...
-- ARGV: now, key, duration in seconds, maximum of fields, field, value. Returns 1.
-- The empty field has the end in seconds. Names of other fields start with a dot.
local now, key = time_of(ARGV[1]), P .. 'kp:' .. ARGV[2]
local ends = redis.call('HGET', key, '')
-- Compared here as well as by TTL: the TTL comes a second later, and tests have a clock of their own.
if ends and tonumber(ends) <= now then
  redis.call('DEL', key)
  ends = false
end
if #ARGV == 2 then
  if not ends then return {} end
  local all, found = redis.call('HGETALL', key), {}
  for n = 1, #all, 2 do
    if all[n] ~= '' then
      found[#found + 1] = all[n]
      found[#found + 1] = all[n + 1]
    end
  end
  return found
end
local for_s, most, field = tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
-- `<=`, not `<`: an existing hash also has the empty field.
if redis.call('HLEN', key) <= most or redis.call('HEXISTS', key, field) == 1 then
  redis.call('HSET', key, field, ARGV[6])
end
redis.call('HSET', key, '', string.format('%.17g', now + for_s))
redis.call('PEXPIRE', key, math.ceil(for_s * 1000) + 1000)
return 1
