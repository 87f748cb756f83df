-- 'open', most, blob | 'change', id, blob as it was, blob ('' closes), entries
if ARGV[1] == 'open' then
  for id = 1, tonumber(ARGV[2]) do
    if redis.call('HSETNX', P .. 'mt', id, ARGV[3]) == 1 then return id end
  end
  return 0
end
local was = redis.call('HGET', P .. 'mt', ARGV[2])
if not was then return -1 end
if was ~= ARGV[3] then return 0 end
if ARGV[4] == '' then redis.call('HDEL', P .. 'mt', ARGV[2]) else redis.call('HSET', P .. 'mt', ARGV[2], ARGV[4]) end
append(ARGV, 5)
return 1
