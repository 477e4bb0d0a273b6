local owner, secret, start, overlap = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])

local row = redis.call('HMGET', KEYS[1], 'owner', 'secret', 'revoked', 'expires')
if row[1] ~= owner or row[3] or (row[4] and now >= tonumber(row[4])) then
  return 0
end
redis.call('HSET', KEYS[1], 'previous', row[2], 'previous_until', now + overlap, 'secret', secret, 'start', start)
return 1
