-- What every script begins with. A script is one act: it compares, stores and appends, and knows no rule of the game.
-- Keys of a topic hold its name in braces, so that a cluster keeps them together.
local P = 'kiai:'

local function topic_key(topic, part)
  return P .. 't:{' .. topic .. '}:' .. part
end

-- A clock that all workers share, unless a test brings its own.
local function time_of(given)
  if given ~= '' then return tonumber(given) end
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

-- Topics that are there without a reader.
local function stays(topic)
  return topic == 'feed' or topic == 'history'
end

local function skips(topic)
  return stays(topic) or string.sub(topic, 1, 7) == 'frames:'
end

-- Entries come as seven values each: topic, author, size of the body, how many entries and bytes are kept, the blob.
local function append(args, at)
  local count = tonumber(args[at])
  at = at + 1
  for _ = 1, count do
    local topic, author, size = args[at], args[at + 1], tonumber(args[at + 2])
    local most, most_bytes, blob = tonumber(args[at + 3]), tonumber(args[at + 4]), args[at + 5]
    at = at + 6
    if topic == 'status' then
      local number = redis.call('INCR', P .. 'b:n')
      redis.call('ZADD', P .. 'b', number, author)
      redis.call('HSET', P .. 'b:e', author, blob)
    else
      local meta = topic_key(topic, 'm')
      local kept = redis.call('HMGET', meta, 'first', 'end', 'bytes')
      if not kept[1] and stays(topic) then kept = {0, 0, 0} end
      if kept[1] then
        local list = topic_key(topic, 'l')
        redis.call('RPUSH', list, struct.pack('>I4', size) .. blob)
        local first, stop, bytes = tonumber(kept[1]), tonumber(kept[2]) + 1, tonumber(kept[3]) + size
        while stop - first > 1 and (stop - first > most or bytes > most_bytes) do
          local gone = redis.call('LPOP', list)
          bytes = bytes - struct.unpack('>I4', gone)
          first = first + 1
        end
        redis.call('HSET', meta, 'first', first, 'end', stop, 'bytes', bytes)
      end
    end
  end
  return at
end

-- Behind the entries that begin at `at`.
local function behind(args, at)
  return at + 1 + 6 * tonumber(args[at])
end

local function online(user)
  return redis.call('HEXISTS', P .. 'shown', user) == 1
end

local function follow(token, shown, topic)
  if topic == 'status' then
    redis.call('HSET', P .. 's:' .. token, 'sc', redis.call('GET', P .. 'b:n') or '0')
    return
  end
  local meta = topic_key(topic, 'm')
  local stop = redis.call('HGET', meta, 'end')
  if not stop then
    stop = '0'
    redis.call('HSET', meta, 'first', 0, 'end', 0, 'bytes', 0)
  end
  redis.call('SADD', topic_key(topic, 'r'), token)
  if shown == '1' then redis.call('HINCRBY', meta, 'shown', 1) end
  redis.call('HSET', P .. 'c:' .. token, topic, stop)
end

local function unfollow(token, shown, topic)
  if topic == 'status' then
    redis.call('HDEL', P .. 's:' .. token, 'sc')
    return
  end
  local readers, meta = topic_key(topic, 'r'), topic_key(topic, 'm')
  redis.call('SREM', readers, token)
  redis.call('HDEL', P .. 'c:' .. token, topic)
  if shown == '1' then redis.call('HINCRBY', meta, 'shown', -1) end
  if not stays(topic) and redis.call('SCARD', readers) == 0 then
    redis.call('DEL', meta, topic_key(topic, 'l'))
  end
end

local function close(token)
  local key = P .. 's:' .. token
  local was = redis.call('HMGET', key, 'd', 'u', 'h')
  if not was[1] then return false end
  for _, topic in ipairs(redis.call('HKEYS', P .. 'c:' .. token)) do unfollow(token, was[3], topic) end
  redis.call('DEL', key, P .. 'c:' .. token)
  redis.call('ZREM', P .. 'seen', token)
  redis.call('SREM', P .. 'u:' .. was[2], token)
  if redis.call('SCARD', P .. 'u:' .. was[2]) == 0 then
    redis.call('ZREM', P .. 'b', was[2])
    redis.call('HDEL', P .. 'b:e', was[2])
  end
  if was[3] == '1' and redis.call('HINCRBY', P .. 'shown', was[2], -1) <= 0 then
    redis.call('HDEL', P .. 'shown', was[2])
  end
  return was[1]
end

-- Six values: the session's blob, and whose statuses it wants: filter, friends, watched, until when, the host it watches.
local function store(token, args, at)
  redis.call('HSET', P .. 's:' .. token, 'd', args[at], 'f', args[at + 1], 'fr', args[at + 2], 'w', args[at + 3],
    'wu', args[at + 4], 'sp', args[at + 5])
  return at + 6
end
