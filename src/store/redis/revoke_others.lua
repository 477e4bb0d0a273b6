-- The keys of the sessions are in the slot of those named.

local index, epochs, news, revoked = unpack(KEYS)
local kept, reason, lifetime, prefix = unpack(ARGV)

local ended = {}
for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
  if id ~= kept then
    local session = read(prefix .. id)
    if not session then
      redis.call('ZREM', index, id)
    elseif not is_over(session, epochs) then
      finish(prefix .. id, id, reason, news, revoked, tonumber(lifetime))
      if not has_expired(session) then
        ended[#ended + 1] = id
      end
    end
  end
end
return ended
