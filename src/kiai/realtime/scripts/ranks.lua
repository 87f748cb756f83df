-- 'set', entries as four values: user, mode, country, pp | 'forget', user | 'of', user | 'one', user, mode
-- | 'around', mode, country, offset, limit | 'count', mode, country
-- | 'load', generation, entries | 'switch', generation. A list sorts by -pp, then by the padded id. What is loaded
-- expires unless more of it or the switch comes within LOADING_S: its worker died.
local LOADING_S = 600
local generation = redis.call('GET', P .. 'z:g') or '0'
local function key(mode, country)
  return P .. 'z:' .. generation .. ':' .. mode .. ':' .. country
end
local function padded(user)
  return string.format('%010d', user)
end
local function remove(user, mode)
  local placed = key(mode, '#')
  local country = redis.call('HGET', placed, user)
  if country then
    redis.call('HDEL', placed, user)
    redis.call('ZREM', key(mode, ''), padded(user))
    redis.call('ZREM', key(mode, country), padded(user))
  end
end
local function place(user, mode, country, pp)
  remove(user, mode)
  if tonumber(pp) > 0 then
    redis.call('HSET', key(mode, '#'), user, country)
    redis.call('ZADD', key(mode, ''), -tonumber(pp), padded(user))
    redis.call('ZADD', key(mode, country), -tonumber(pp), padded(user))
    redis.call('SADD', P .. 'z:' .. generation .. ':modes', mode)
    redis.call('SADD', P .. 'z:' .. generation .. ':keys', key(mode, '#'), key(mode, ''), key(mode, country))
  end
end
local function own_keys(generation)
  local found = redis.call('SMEMBERS', P .. 'z:' .. generation .. ':keys')
  for _, name in ipairs({'keys', 'modes', 'loading'}) do found[#found + 1] = P .. 'z:' .. generation .. ':' .. name end
  return found
end
local function rank(user, mode)
  local country = redis.call('HGET', key(mode, '#'), user)
  if not country then return false end
  return {tonumber(mode), redis.call('ZRANK', key(mode, ''), padded(user)) + 1,
    redis.call('ZRANK', key(mode, country), padded(user)) + 1}
end
local what = ARGV[1]
if what == 'load' then
  generation = ARGV[2]
  for n = 3, #ARGV, 4 do place(ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3]) end
  redis.call('SET', P .. 'z:' .. generation .. ':loading', 1)
  for _, loaded in ipairs(own_keys(generation)) do redis.call('EXPIRE', loaded, LOADING_S) end
elseif what == 'set' then
  for n = 2, #ARGV, 4 do place(ARGV[n], ARGV[n + 1], ARGV[n + 2], ARGV[n + 3]) end
elseif what == 'switch' then
  local old = generation
  if redis.call('DEL', P .. 'z:' .. ARGV[2] .. ':loading') == 0 then return 0 end
  for _, loaded in ipairs(own_keys(ARGV[2])) do redis.call('PERSIST', loaded) end
  redis.call('SET', P .. 'z:g', ARGV[2])
  if old ~= ARGV[2] then
    for _, gone in ipairs(own_keys(old)) do redis.call('UNLINK', gone) end
  end
elseif what == 'forget' then
  for _, mode in ipairs(redis.call('SMEMBERS', P .. 'z:' .. generation .. ':modes')) do remove(ARGV[2], mode) end
elseif what == 'one' then
  return rank(ARGV[2], ARGV[3]) or {}
elseif what == 'of' then
  local found = {}
  for _, mode in ipairs(redis.call('SMEMBERS', P .. 'z:' .. generation .. ':modes')) do
    local one = rank(ARGV[2], mode)
    if one then found[#found + 1] = one end
  end
  return found
elseif what == 'around' then
  return redis.call('ZRANGE', key(ARGV[2], ARGV[3]), ARGV[4], ARGV[4] + ARGV[5] - 1)
elseif what == 'count' then
  return redis.call('ZCARD', key(ARGV[2], ARGV[3]))
end
return 1
