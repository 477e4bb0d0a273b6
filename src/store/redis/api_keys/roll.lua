-- Sets the secrets of a key if its secret and its revocation are still those that were loaded.
local row = redis.call('HMGET', KEYS[1], 'secret', 'revoked')
if row[1] ~= ARGV[1] or (row[2] or '') ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
return 1
