local user, names, subjects = unpack(KEYS)
local subject, identifier, hash, roles = unpack(ARGV)

if redis.call('EXISTS', user) == 1 or redis.call('HEXISTS', subjects, subject) == 1 then
  return 0
end
redis.call('HSET', user, 'sub', subject, 'hash', hash, 'roles', roles, 'off', 0, 'born', now)
redis.call('ZADD', names, 0, identifier)
redis.call('HSET', subjects, subject, identifier)
return 1
