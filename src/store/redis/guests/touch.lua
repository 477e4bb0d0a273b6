local ends, promoted, user = unpack(redis.call('HMGET', KEYS[1], 'exp', 'prom', 'user'))
if not ends or promoted or user or now >= tonumber(ends) then
  return 0
end
redis.call('HSET', KEYS[1], 'wrote', now)
return 1
