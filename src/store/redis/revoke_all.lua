local epochs, news, revoked, index = unpack(KEYS)
local subject, lifetime = unpack(ARGV)

local epoch = redis.call('HINCRBY', epochs, subject, 1)
tell(news, revoked, {'u' .. string.format('%d', epoch) .. ':' .. subject}, now + tonumber(lifetime))
end_index(index)
return epoch
