local key = KEYS[1]
local device, lifetime = unpack(ARGV)

if redis.call('EXISTS', key) == 1 then
  return 0
end
local ends = now + tonumber(lifetime)
redis.call('HSET', key, 'ver', 0, 'dev', device, 'born', now, 'wrote', now, 'exp', ends)
redis.call('PEXPIREAT', key, ends + DAY)
return 1
