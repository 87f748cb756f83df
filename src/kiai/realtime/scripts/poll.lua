-- now, token, bytes at most, the version that is known, how many online are many, the wall clock in ms
local token, most, known = ARGV[2], tonumber(ARGV[3]), ARGV[4]
local key = P .. 's:' .. token
local one = redis.call('HMGET', key, 'v', 'u', 'sc', 'f')
if not one[1] then return {-1} end
redis.call('ZADD', P .. 'seen', time_of(ARGV[1]), token)
local found = {}
local cursors = redis.call('HGETALL', P .. 'c:' .. token)
for n = 1, #cursors, 2 do
  local topic, cursor = cursors[n], tonumber(cursors[n + 1])
  local kept = redis.call('HMGET', topic_key(topic, 'm'), 'first', 'end')
  local first, stop = tonumber(kept[1]), tonumber(kept[2])
  if cursor ~= stop and most > 0 then
    if cursor < first then
      if not skips(topic) then return {-2, topic} end
      cursor = first
    end
    local full = false
    while cursor < stop and not full do
      local piece = redis.call('LRANGE', topic_key(topic, 'l'), cursor - first, math.min(cursor - first + 63, stop - first - 1))
      for _, blob in ipairs(piece) do
        local size = struct.unpack('>I4', blob)
        if size > most and #found > 0 then
          full = true
          break
        end
        most = most - size
        found[#found + 1] = topic
        found[#found + 1] = string.sub(blob, 5)
        cursor = cursor + 1
        if most <= 0 then
          full = true
          break
        end
      end
    end
    redis.call('HSET', P .. 'c:' .. token, topic, cursor)
  end
end
if one[3] then
  local number = redis.call('GET', P .. 'b:n') or '0'
  if number ~= one[3] then
    local since, mine = tonumber(one[3]), one[2]
    local new = {}
    if one[4] == '1' and redis.call('HLEN', P .. 'shown') <= tonumber(ARGV[5]) then
      new = redis.call('ZRANGEBYSCORE', P .. 'b', '(' .. one[3], '+inf')
    else
      local wants = redis.call('HMGET', key, 'fr', 'w', 'wu', 'sp')
      local ids = {}
      if one[4] ~= '0' then
        for _, id in ipairs(cmsgpack.unpack(wants[1])) do ids[id] = true end
      end
      if one[4] == '1' and tonumber(ARGV[6]) < tonumber(wants[3]) then
        for _, id in ipairs(cmsgpack.unpack(wants[2])) do ids[id] = true end
      end
      if wants[4] ~= '0' then ids[tonumber(wants[4])] = true end
      local scored = {}
      for id in pairs(ids) do
        local score = tonumber(redis.call('ZSCORE', P .. 'b', id) or '0')
        if score > since then scored[#scored + 1] = {score, string.format('%d', id)} end
      end
      table.sort(scored, function(a, b) return a[1] < b[1] end)
      for n, pair in ipairs(scored) do new[n] = pair[2] end
    end
    for _, author in ipairs(new) do
      if author ~= mine then
        found[#found + 1] = 'status'
        found[#found + 1] = redis.call('HGET', P .. 'b:e', author)
      end
    end
    redis.call('HSET', key, 'sc', number)
  end
end
local data = false
if one[1] ~= known then data = redis.call('HGET', key, 'd') end
return {tonumber(one[1]), data, found}
