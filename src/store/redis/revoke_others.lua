-- One step. The keys of the sessions share the slot of KEYS.

local index, epochs, news, revoked = unpack(KEYS)
local subject, kept, reason, lifetime, prefix, step = unpack(ARGV)

local ids = redis.call('ZRANGEBYSCORE', index, '(' .. now, '+inf', 'LIMIT', 0, tonumber(step))
local others, keys = {}, {}
for _, id in ipairs(ids) do
  if id ~= kept and id ~= '-' then
    others[#others + 1], keys[#keys + 1] = id, prefix .. id
  end
end
if #others == 0 then
  return {0, {}}
end

local raised = epoch_of(epochs, subject)
local ended, ends, targets = {}, {}, {}
for i, row in ipairs(redis.call('MGET', unpack(keys))) do
  if row then
    local _, why, _, _, _, _, used, ends_by, _, idle, expires, _, epoch = struct.unpack(FORM, row)
    if why == 0 and epoch >= raised and now < expires and now < used + idle then
      ended[#ended + 1], ends[#ends + 1], targets[#targets + 1] = others[i], ends_by, 's' .. others[i]
    end
  end
end
if #ended > 0 then
  tell(news, revoked, targets, now + tonumber(lifetime))
end
redis.call('ZREM', index, unpack(others))
for i, id in ipairs(ended) do
  finish(prefix .. id, tonumber(reason), ends[i])
end
return {#ids == tonumber(step) and 1 or 0, ended}
