-- 'of', user | 'among', users... | 'following', topic: blobs; among: user, blob, user, blob, ... of those who are shown
local what, found = ARGV[1], {}
local function blobs(tokens, only_shown, user)
  for _, token in ipairs(tokens) do
    local one = redis.call('HMGET', P .. 's:' .. token, 'd', 'h')
    if one[1] and (not only_shown or one[2] == '1') then
      if user then found[#found + 1] = user end
      found[#found + 1] = one[1]
    end
  end
end
if what == 'of' then
  blobs(redis.call('SMEMBERS', P .. 'u:' .. ARGV[2]), false)
elseif what == 'following' then
  blobs(redis.call('SMEMBERS', topic_key(ARGV[2], 'r')), false)
else
  for n = 2, #ARGV do
    if redis.call('HEXISTS', P .. 'shown', ARGV[n]) == 1 then
      blobs(redis.call('SMEMBERS', P .. 'u:' .. ARGV[n]), true, ARGV[n])
    end
  end
end
return found
