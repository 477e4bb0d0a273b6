if redis.call('HGET', KEYS[1], 'owner') ~= ARGV[1] then
  return 0
end
redis.call('HSETNX', KEYS[1], 'revoked', now)
return 1
