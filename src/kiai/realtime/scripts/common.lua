-- Functions for all scripts: redis.py puts this text before each of them.
--
-- Redis runs a script to its end before the next command, so a script is atomic. A script compares, stores and appends.
-- It has no rules of the game, because those exist once, in Python.
--
-- The keys are listed in redis.py. Keys of a topic have its name in braces: a cluster hashes only that part and stores
-- them on one node.
-- The names of all keys begin with the first key.
local P = KEYS[1]

local function topic_key(topic, part)
  return P .. 't:{' .. topic .. '}:' .. part
end

-- Seconds. Redis's clock, because the clocks of workers on several machines differ; a test passes its own time.
local function time_of(given)
  if given ~= '' then return tonumber(given) end
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1000000
end

-- Topics that exist without a reader (PERMANENT_TOPICS in port.py).
local function permanent(topic)
  return topic == 'feed' or topic == 'history' or topic == 'irc'
end

-- Topics whose readers may miss entries (`skips` in BOUNDS in port.py).
local function skips(topic)
  return permanent(topic) or string.sub(topic, 1, 7) == 'frames:'
end

-- The number of the last change that this script has logged, 0 if it has logged none.
local changes = 0

-- Logs the name of something that a poll may have to return: a topic, '~' and a token, '@' and the author of a status
-- (changes.py). The list has the last 4096 names, and up to 255 more.
local function changed(name)
  redis.call('RPUSH', P .. 'n', name)
  changes = redis.call('INCR', P .. 'n:n')
  if changes % 256 == 0 then redis.call('LTRIM', P .. 'n', -4096, -1) end
end

-- Appends the entries at `args[at]` and returns the index after them. The first value is the number of entries. Each
-- has six values: topic, author, size of the body, maximum of entries and of bytes in the topic, the encoded entry.
local function append(args, at)
  local count = tonumber(args[at])
  local last
  at = at + 1
  for _ = 1, count do
    local topic, author, size = args[at], args[at + 1], tonumber(args[at + 2])
    local most, most_bytes, blob = tonumber(args[at + 3]), tonumber(args[at + 4]), args[at + 5]
    at = at + 6
    if topic == 'status' then
      -- A board: the new entry replaces the author's old one, and its number sorts it behind all others.
      local number = redis.call('INCR', P .. 'b:n')
      redis.call('ZADD', P .. 'b', number, author)
      redis.call('HSET', P .. 'b:e', author, blob)
      changed('@' .. author)
    else
      local meta = topic_key(topic, 'm')
      local state = redis.call('HMGET', meta, 'first', 'end', 'bytes')
      if not state[1] and permanent(topic) then state = {0, 0, 0} end
      -- No meta means no follower: nobody would ever read the entry, or remove it.
      if state[1] then
        local list = topic_key(topic, 'l')
        -- The size is stored with the entry, so that `poll` and the bound below need not decode it.
        redis.call('RPUSH', list, struct.pack('>I4', size) .. blob)
        local first, stop, bytes = tonumber(state[1]), tonumber(state[2]) + 1, tonumber(state[3]) + size
        -- The newest entry stays, even if it exceeds the bound of bytes.
        while stop - first > 1 and (stop - first > most or bytes > most_bytes) do
          local dropped = redis.call('LPOP', list)
          bytes = bytes - struct.unpack('>I4', dropped)
          first = first + 1
        end
        redis.call('HSET', meta, 'first', first, 'end', stop, 'bytes', bytes)
        if topic ~= last and not permanent(topic) then changed(topic) end
        last = topic
      end
    end
  end
  return at
end

-- Returns the index after the entries at `args[at]` without appending them.
local function skip_entries(args, at)
  return at + 1 + 6 * tonumber(args[at])
end

local function online(user)
  return redis.call('HEXISTS', P .. 'shown', user) == 1
end

-- Adds a session to a topic's readers. Its cursor starts at the end: a session never reads entries from before it came.
-- `visible` is '1' or '0', as the session's hash has it.
local function follow(token, visible, topic)
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
  -- A counter of its own: SCARD would include hidden sessions, and the number of players in a channel is public.
  if visible == '1' then redis.call('HINCRBY', meta, 'shown', 1) end
  redis.call('HSET', P .. 'c:' .. token, topic, stop)
end

local function unfollow(token, visible, topic)
  if topic == 'status' then
    redis.call('HDEL', P .. 's:' .. token, 'sc')
    return
  end
  local readers, meta = topic_key(topic, 'r'), topic_key(topic, 'm')
  redis.call('SREM', readers, token)
  redis.call('HDEL', P .. 'c:' .. token, topic)
  if visible == '1' then redis.call('HINCRBY', meta, 'shown', -1) end
  -- The last reader deletes the topic. Topics have no TTL, so nothing else would.
  if not permanent(topic) and redis.call('SCARD', readers) == 0 then
    redis.call('DEL', meta, topic_key(topic, 'l'))
  end
end

-- Ends a session and returns its Struct, or false if it has ended.
local function close(token)
  local key = P .. 's:' .. token
  local session = redis.call('HMGET', key, 'd', 'u', 'h')
  if not session[1] then return false end
  local data, user, visible = session[1], session[2], session[3]
  for _, topic in ipairs(redis.call('HKEYS', P .. 'c:' .. token)) do unfollow(token, visible, topic) end
  redis.call('DEL', key, P .. 'c:' .. token)
  changed('~' .. token)
  redis.call('ZREM', P .. 'seen', token)
  redis.call('SREM', P .. 'u:' .. user, token)
  -- The status belongs to the user: it stays while the user has another session.
  if redis.call('SCARD', P .. 'u:' .. user) == 0 then
    redis.call('ZREM', P .. 'b', user)
    redis.call('HDEL', P .. 'b:e', user)
  end
  -- The field is removed at zero, because HLEN of this hash is the number of players online.
  if visible == '1' and redis.call('HINCRBY', P .. 'shown', user, -1) <= 0 then
    redis.call('HDEL', P .. 'shown', user)
  end
  return data
end

-- Stores the six values of a session at `args[at]` and returns the index after them: the Struct, then the fields that
-- decide whose statuses it receives: filter, friends, watched, end of watched (unix ms), host.
local function store(token, args, at)
  redis.call('HSET', P .. 's:' .. token, 'd', args[at], 'f', args[at + 1], 'fr', args[at + 2], 'w', args[at + 3],
    'wu', args[at + 4], 'sp', args[at + 5])
  return at + 6
end
