if redis.call('EXISTS', KEYS[1]) == 0 then
  return false
end
return redis.call('HMGET', KEYS[1], 'sub', 'data', 'revision', 'created', 'used')
