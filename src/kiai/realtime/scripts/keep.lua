-- now, key: fields and values | now, key, for how long, most fields, field, value
local now, key = time_of(ARGV[1]), P .. 'kp:' .. ARGV[2]
local ends = redis.call('HGET', key, '')
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
if redis.call('HLEN', key) <= most or redis.call('HEXISTS', key, field) == 1 then
  redis.call('HSET', key, field, ARGV[6])
end
redis.call('HSET', key, '', string.format('%.17g', now + for_s))
redis.call('PEXPIRE', key, math.ceil(for_s * 1000) + 1000)
return 1
