local epochs, news, revoked = unpack(KEYS)
local subject, lifetime = unpack(ARGV)

local epoch = redis.call('HINCRBY', epochs, subject, 1)
tell(news, revoked, 'u' .. string.format('%d', epoch) .. ':' .. subject, now + tonumber(lifetime))
return epoch
