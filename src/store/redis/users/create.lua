local user, names, subjects = unpack(KEYS)
-- Without a fifth argument the user has no password.
local subject, identifier, roles, verified, hash = unpack(ARGV)

if redis.call('EXISTS', user) == 1 or redis.call('HEXISTS', subjects, subject) == 1 then
  return 0
end
redis.call('HSET', user, 'sub', subject, 'roles', roles, 'off', 0, 'born', now)
if verified == '1' then
  redis.call('HSET', user, 'verified', now)
end
if hash then
  redis.call('HSET', user, 'hash', hash)
end
redis.call('ZADD', names, 0, identifier)
redis.call('HSET', subjects, subject, identifier)
return 1
