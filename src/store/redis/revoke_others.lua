-- One step. The keys of the sessions share the slot of KEYS.

local index, epochs, news, revoked = unpack(KEYS)
local kept, reason, lifetime, prefix, step = unpack(ARGV)

local ids = redis.call('ZRANGEBYSCORE', index, '(' .. now, '+inf', 'LIMIT', 0, tonumber(step))
local ended = {}
for _, id in ipairs(ids) do
  local row = id ~= kept and id ~= '-' and redis.call('GET', prefix .. id)
  if row then
    local _, why, _, _, _, _, used, _, _, idle, expires, _, epoch, _, length = struct.unpack(FORM, row)
    local over = why ~= 0 or epoch < epoch_of(epochs, string.sub(row, 92, 91 + length))
    if over or now >= expires or now >= used + idle then
      redis.call('ZREM', index, id)
    else
      finish(prefix .. id, id, index, tonumber(reason), news, revoked, tonumber(lifetime))
      ended[#ended + 1] = id
    end
  elseif id ~= kept and id ~= '-' then
    redis.call('ZREM', index, id)
  end
end
return {#ids == tonumber(step) and 1 or 0, ended}
