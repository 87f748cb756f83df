-- Returns what a session has not read, moves its cursors and marks it as seen.
-- ARGV: now, token, maximum of bytes, version that the worker has cached ('' for none), number of players above which
--       statuses are pushed by interest, unix ms.
-- Returns {version, Struct (nil if the worker has this version), {topic, entry, topic, entry, ...}, number of changes so
--          far (changes.py), 1 if nothing is unread now}
--       | {-1} no such session | {-2, topic} the session missed entries of this topic.
--
-- PERF: runs about once a second for each session. A poll without new entries costs one HMGET per followed topic.
local token, most, known = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local key = P .. 's:' .. token
local session = redis.call('HMGET', key, 'v', 'u', 'sc', 'f')
if not session[1] then return {-1} end
local version, user, status_cursor, filter = session[1], session[2], session[3], session[4]
redis.call('ZADD', P .. 'seen', time_of(ARGV[1]), token)
local unread = {}
local complete = 1
local cursors = redis.call('HGETALL', P .. 'c:' .. token)
for n = 1, #cursors, 2 do
  local topic, cursor = cursors[n], tonumber(cursors[n + 1])
  local state = redis.call('HMGET', topic_key(topic, 'm'), 'first', 'end')
  local first, stop = tonumber(state[1]), tonumber(state[2])
  if cursor ~= stop and most > 0 then
    if cursor < first then
      if not skips(topic) then return {-2, topic} end
      cursor = first
    end
    local full = false
    while cursor < stop and not full do
      -- In pieces of 64: a whole topic may be megabytes, of which the bound leaves only a part.
      local last = math.min(cursor - first + 63, stop - first - 1)
      for _, blob in ipairs(redis.call('LRANGE', topic_key(topic, 'l'), cursor - first, last)) do
        local size = struct.unpack('>I4', blob)
        -- The first entry is sent whatever its size. Otherwise it would block the session forever.
        if size > most and #unread > 0 then
          full = true
          break
        end
        most = most - size
        unread[#unread + 1] = topic
        unread[#unread + 1] = string.sub(blob, 5)
        cursor = cursor + 1
        if most <= 0 then
          full = true
          break
        end
      end
    end
    redis.call('HSET', P .. 'c:' .. token, topic, cursor)
  end
  if cursor ~= stop then complete = 0 end
end
-- Statuses: the same rule as `status_interest` in port.py. It is repeated here because the worker would otherwise need
-- a second round trip, between which the cursor could move.
if status_cursor then
  local number = redis.call('GET', P .. 'b:n') or '0'
  if number ~= status_cursor then
    local since = tonumber(status_cursor)
    local authors = {}
    if filter == '1' and redis.call('HLEN', P .. 'shown') <= tonumber(ARGV[5]) then
      authors = redis.call('ZRANGEBYSCORE', P .. 'b', '(' .. status_cursor, '+inf')
    else
      local interest = redis.call('HMGET', key, 'fr', 'w', 'wu', 'sp')
      local ids = {}
      if filter ~= '0' then
        for _, id in ipairs(cmsgpack.unpack(interest[1])) do ids[id] = true end
      end
      if filter == '1' and tonumber(ARGV[6]) < tonumber(interest[3]) then
        for _, id in ipairs(cmsgpack.unpack(interest[2])) do ids[id] = true end
      end
      if interest[4] ~= '0' then ids[tonumber(interest[4])] = true end
      -- One ZSCORE per friend, O(1) each, instead of a walk over the statuses of everybody.
      local numbered = {}
      for id in pairs(ids) do
        local score = tonumber(redis.call('ZSCORE', P .. 'b', id) or '0')
        if score > since then numbered[#numbered + 1] = {score, string.format('%d', id)} end
      end
      -- `pairs` has no defined order.
      table.sort(numbered, function(a, b) return a[1] < b[1] end)
      for n, pair in ipairs(numbered) do authors[n] = pair[2] end
    end
    for _, author in ipairs(authors) do
      if author ~= user then
        unread[#unread + 1] = 'status'
        unread[#unread + 1] = redis.call('HGET', P .. 'b:e', author)
      end
    end
    redis.call('HSET', key, 'sc', number)
  end
end
-- PERF: the Struct is the largest value of the reply and rarely changes.
local data = false
if version ~= known then data = redis.call('HGET', key, 'd') end
return {tonumber(version), data, unread, tonumber(redis.call('GET', P .. 'n:n') or '0'), complete}
