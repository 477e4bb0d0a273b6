-- Sets a guest if its version is still the one that was loaded. An empty text is an absent value.
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
  tell(news, revoked, {'u' .. string.format('%d', epoch) .. ':' .. subject}, now + tonumber(lifetime))
  end_index(index)
end
if epoch_goes ~= '' then
  redis.call('ZADD', claimed, epoch_goes, subject)
end
return 1
