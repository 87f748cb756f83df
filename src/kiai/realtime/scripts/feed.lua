-- Reads a feed. One script, because `first` may move between reading it and reading the list.
-- ARGV: topic, cursor, maximum of entries.
-- Returns the index of the first entry, the end of the feed, encoded entries.
local topic, cursor, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local state = redis.call('HMGET', topic_key(topic, 'm'), 'first', 'end')
local first, stop = tonumber(state[1] or 0), tonumber(state[2] or 0)
-- A cursor past the end is from before Redis lost its data.
if cursor > stop then cursor = stop elseif cursor < first then cursor = first end
local entries = {}
if cursor < stop and most > 0 then
  for _, blob in ipairs(redis.call('LRANGE', topic_key(topic, 'l'), cursor - first, cursor - first + most - 1)) do
    entries[#entries + 1] = string.sub(blob, 5)  -- without the size
  end
end
return {cursor, stop, entries}
