-- Names this run of Redis. That Redis has this script means that the run has a name.
-- ARGV: a random name, or nothing.
if ARGV[1] then redis.call('SET', P .. 'n:r', ARGV[1]) end
return 1
