-- Reads sessions. One script, because a session may end between reading the tokens and reading the sessions.
-- ARGV: 'of', user | 'following', topic. Returns Structs, hidden sessions included.
-- ARGV: 'among', users... Returns user, Struct, user, Struct, ... of visible sessions.
local what, found = ARGV[1], {}
local function collect(tokens, only_visible, user)
  for _, token in ipairs(tokens) do
    local session = redis.call('HMGET', P .. 's:' .. token, 'd', 'h')
    if session[1] and (not only_visible or session[2] == '1') then
      if user then found[#found + 1] = user end
      found[#found + 1] = session[1]
    end
  end
end
if what == 'of' then
  collect(redis.call('SMEMBERS', P .. 'u:' .. ARGV[2]), false)
elseif what == 'following' then
  collect(redis.call('SMEMBERS', topic_key(ARGV[2], 'r')), false)
else
  for n = 2, #ARGV do
    -- PERF: most of the users are offline, and this lookup is cheaper than SMEMBERS.
    if redis.call('HEXISTS', P .. 'shown', ARGV[n]) == 1 then
      collect(redis.call('SMEMBERS', P .. 'u:' .. ARGV[n]), true, ARGV[n])
    end
  end
end
return found
