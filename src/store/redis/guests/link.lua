-- `judge`, and what follows where it has nothing against it: the guest's end, that of its sessions,
-- and what tells the nodes of it. Without a user it is a promotion.
local key, epochs, news, revoked, pending, claimed, index = unpack(KEYS)
local subject, device, within, lifetime, user, first = unpack(ARGV)

local own, wrote, ends, promoted, holder =
  unpack(redis.call('HMGET', key, 'dev', 'wrote', 'exp', 'prom', 'user'))
if not ends then
  return {'unknown', 0}
elseif holder and holder == user then
  return {'before', 0}
elseif holder or promoted then
  return {'taken', 0}
elseif now >= tonumber(ends) then
  return {'unknown', 0}
elseif (own or '') ~= device then
  return {'other_device', 0}
elseif now > tonumber(wrote) + tonumber(within) then
  return {'stale', 0}
end
if user then
  local due = now + tonumber(first)
  redis.call('HSET', key, 'user', user, 'at', now, 'due', due)
  redis.call('ZADD', pending, due, subject)
  redis.call('ZADD', claimed, tonumber(ends) + DAY, subject)
  -- Until it is settled.
  redis.call('PERSIST', key)
else
  redis.call('HSET', key, 'prom', now)
end
local epoch = redis.call('HINCRBY', epochs, subject, 1)
tell(news, revoked, 'u' .. string.format('%d', epoch) .. ':' .. subject, now + tonumber(lifetime))
end_index(index)
return {'done', epoch}
