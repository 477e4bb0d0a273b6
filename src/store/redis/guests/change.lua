-- Sets a guest that is still of the version that was loaded. Empty texts stand for what is absent.
local key, epochs, news, revoked, pending, claimed, index = unpack(KEYS)
local version, subject, goes, due, lifetime, epoch_goes = unpack(ARGV)

if redis.call('HGET', key, 'ver') ~= version then
  return 0
end
redis.call('HSET', key, unpack(ARGV, 7))
if goes == '' then
  redis.call('PERSIST', key)
else
  redis.call('PEXPIREAT', key, goes)
end
if due == '' then
  redis.call('ZREM', pending, subject)
else
  redis.call('ZADD', pending, due, subject)
end
if lifetime ~= '' then
  local epoch = redis.call('HINCRBY', epochs, subject, 1)
  tell(news, revoked, 'u' .. string.format('%d', epoch) .. ':' .. subject, now + tonumber(lifetime))
  end_index(index)
end
if epoch_goes ~= '' then
  redis.call('ZADD', claimed, epoch_goes, subject)
end
return 1
