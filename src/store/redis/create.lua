local session, epochs, index, since = unpack(KEYS)
local read_epoch, subject, kind, idle, lifetime, bound_key, details, id = unpack(ARGV)

local epoch = epoch_of(epochs, subject)
if read_epoch ~= '' and tonumber(read_epoch) ~= epoch then
  return {'moved', now, 0}
end
local expires = now + tonumber(lifetime)
local ends_by = math.min(expires, now + tonumber(idle))
local row = struct.pack(FORM, 1, 0, 0, 0, 0, 0, now, ends_by, 0, tonumber(idle), expires, now, epoch,
  tonumber(kind), #subject, #bound_key) .. subject .. bound_key .. details
if not redis.call('SET', session, row, 'NX', 'PXAT', ends_by + DAY) then
  return {'exists', now, 0}
end
-- Set before the first token is issued, so that no token is older than the server's first revocation.
redis.call('SET', since, math.floor(now / 1000) * 1000, 'NX')
-- The index contains the subject's sessions by their ends.
prune(index)
redis.call('ZADD', index, ends_by, id)
local last = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
redis.call('PEXPIREAT', index, tonumber(last[2]))
return {'created', now, epoch}
