local key = KEYS[1]
local device, lifetime = unpack(ARGV)

if redis.call('EXISTS', key) == 1 then
  return 0
end
local ends = now + tonumber(lifetime)
redis.call('HSET', key, 'born', now, 'wrote', now, 'exp', ends)
if device ~= '' then
  redis.call('HSET', key, 'dev', device)
end
redis.call('PEXPIREAT', key, ends + DAY)
return 1
