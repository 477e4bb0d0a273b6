if redis.call('EXISTS', KEYS[1]) == 0 then
  return false
end
return redis.call('HMGET', KEYS[1], 'owner', 'secret', 'previous', 'previous_until', 'label', 'start', 'scope', 'born', 'expires', 'revoked', 'used')
