-- Returns the time since the last poll of a session, or the sessions that were not polled for some time.
-- ARGV: now, 'of', token -> seconds as text, or nil without such a session
--       now, 'since', seconds, most -> tokens of sessions without a poll for so long, the longest idle first
local now, what = time_of(ARGV[1]), ARGV[2]
if what == 'of' then
  local seen = redis.call('ZSCORE', P .. 'seen', ARGV[3])
  if not seen then return false end
  return string.format('%.17g', now - tonumber(seen))
end
return redis.call('ZRANGEBYSCORE', P .. 'seen', '-inf', string.format('%.17g', now - tonumber(ARGV[3])), 'LIMIT', 0, ARGV[4])
