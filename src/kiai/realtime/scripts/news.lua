-- Returns what has changed since the worker's last call, and marks sessions as seen now.
-- ARGV: now, number of the last change that the worker knows, maximum of names, tokens...
-- Returns {number of the last change, number of players online, names of the changes, name of this run of Redis}. Fewer
-- names than the difference of the numbers: the log no longer has all of them, or they are too many.
local total = tonumber(redis.call('GET', P .. 'n:n') or '0')
local fresh = total - tonumber(ARGV[2])
local names = {}
if fresh > 0 and fresh <= tonumber(ARGV[3]) then names = redis.call('LRANGE', P .. 'n', -fresh, -1) end
if #ARGV > 3 then
  local now = time_of(ARGV[1])
  -- XX: an ended session stays ended. GT: a later poll through Redis counts.
  for n = 4, #ARGV do redis.call('ZADD', P .. 'seen', 'XX', 'GT', now, ARGV[n]) end
end
return {total, redis.call('HLEN', P .. 'shown'), names, redis.call('GET', P .. 'n:r') or ''}
