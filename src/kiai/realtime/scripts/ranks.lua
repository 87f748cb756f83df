-- Rank lists of users by pp, per mode: one of the world and one of each country.
-- ARGV: 'set', entries (user, mode, country, pp each) -> {rank, country rank} of each entry, zeros without one
--       'forget', user
--       'of', user -> {mode, rank, country rank} of each mode | 'one', user, mode -> the same of one mode, or {}
--       'around', mode, country ('' for the world), offset, limit -> padded user ids
--       'count', mode, country -> length
--       'load', generation, entries -> adds them to a generation that nobody reads yet
--       'switch', generation -> 1, or 0 if the loaded generation has expired
--
-- Keys of a generation, below z:GENERATION:
--   MODE:CC  sorted set of a country, MODE: that of the world. Score -pp, member the padded user id: Redis sorts equal
--            scores by bytes of the member, and padding makes that the order of ids.
--   MODE:#   hash, the country by user: it finds the list from which an old entry must go.
--   modes    set of modes, for 'forget' and 'of'
--   keys     set of all these keys, for the TTL and the removal of a generation, instead of a scan of the database
--   loading  exists until the switch
--
-- A loaded generation expires unless another 'load' or the switch comes within LOADING_S seconds. Otherwise a worker
-- that dies while it loads would leave its lists forever.
local LOADING_S = 600
local generation = redis.call('GET', P .. 'z:g') or '0'
local function key(mode, country)
  return P .. 'z:' .. generation .. ':' .. mode .. ':' .. country
end
local function padded(user)
  return string.format('%010d', user)
end
local function remove(user, mode)
  local countries = key(mode, '#')
  local country = redis.call('HGET', countries, user)
  if country then
    redis.call('HDEL', countries, user)
    redis.call('ZREM', key(mode, ''), padded(user))
    redis.call('ZREM', key(mode, country), padded(user))
  end
end
local function place(user, mode, country, pp)
  -- First, because the country may have changed.
  remove(user, mode)
  if tonumber(pp) > 0 then
    redis.call('HSET', key(mode, '#'), user, country)
    redis.call('ZADD', key(mode, ''), -tonumber(pp), padded(user))
    redis.call('ZADD', key(mode, country), -tonumber(pp), padded(user))
    redis.call('SADD', P .. 'z:' .. generation .. ':modes', mode)
    redis.call('SADD', P .. 'z:' .. generation .. ':keys', key(mode, '#'), key(mode, ''), key(mode, country))
  end
end
local function keys_of(generation)
  local keys = redis.call('SMEMBERS', P .. 'z:' .. generation .. ':keys')
  for _, name in ipairs({'keys', 'modes', 'loading'}) do keys[#keys + 1] = P .. 'z:' .. generation .. ':' .. name end
  return keys
end
local function rank(user, mode)
  local country = redis.call('HGET', key(mode, '#'), user)
  if not country then return false end
  return {tonumber(mode), redis.call('ZRANK', key(mode, ''), padded(user)) + 1,
    redis.call('ZRANK', key(mode, country), padded(user)) + 1}
end
local what = ARGV[1]
if what == 'load' then
  generation = ARGV[2]  -- `key` and `place` use it
  for n = 3, #ARGV, 4 do place(ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3]) end
  redis.call('SET', P .. 'z:' .. generation .. ':loading', 1)
  for _, loaded in ipairs(keys_of(generation)) do redis.call('EXPIRE', loaded, LOADING_S) end
elseif what == 'set' then
  for n = 2, #ARGV, 4 do place(ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3]) end
  local ranks = {}
  for n = 2, #ARGV, 4 do
    local found = rank(ARGV[n], ARGV[n + 1])
    ranks[#ranks + 1] = found and {found[2], found[3]} or {0, 0}
  end
  return ranks
elseif what == 'switch' then
  local old = generation
  -- A missing key means that the lists have expired, at least in part.
  if redis.call('DEL', P .. 'z:' .. ARGV[2] .. ':loading') == 0 then return 0 end
  for _, loaded in ipairs(keys_of(ARGV[2])) do redis.call('PERSIST', loaded) end
  redis.call('SET', P .. 'z:g', ARGV[2])
  if old ~= ARGV[2] then
    -- UNLINK frees the memory in a thread of Redis; DEL of lists with 100,000 users would block all workers.
    for _, unused in ipairs(keys_of(old)) do redis.call('UNLINK', unused) end
  end
elseif what == 'forget' then
  for _, mode in ipairs(redis.call('SMEMBERS', P .. 'z:' .. generation .. ':modes')) do remove(ARGV[2], mode) end
elseif what == 'one' then
  return rank(ARGV[2], ARGV[3]) or {}
elseif what == 'of' then
  local ranks = {}
  for _, mode in ipairs(redis.call('SMEMBERS', P .. 'z:' .. generation .. ':modes')) do
    local found = rank(ARGV[2], mode)
    if found then ranks[#ranks + 1] = found end
  end
  return ranks
elseif what == 'around' then
  return redis.call('ZRANGE', key(ARGV[2], ARGV[3]), ARGV[4], ARGV[4] + ARGV[5] - 1)
elseif what == 'count' then
  return redis.call('ZCARD', key(ARGV[2], ARGV[3]))
end
return 1
