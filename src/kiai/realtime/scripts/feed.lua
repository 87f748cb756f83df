-- topic, cursor, most: the index of the first, the end, blobs
local topic, cursor, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local kept = redis.call('HMGET', topic_key(topic, 'm'), 'first', 'end')
local first, stop = tonumber(kept[1] or 0), tonumber(kept[2] or 0)
if cursor > stop then cursor = stop elseif cursor < first then cursor = first end
local found = {}
if cursor < stop and most > 0 then
  for _, blob in ipairs(redis.call('LRANGE', topic_key(topic, 'l'), cursor - first, cursor - first + most - 1)) do
    found[#found + 1] = string.sub(blob, 5)
  end
end
return {cursor, stop, found}
