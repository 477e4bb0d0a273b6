-- Ends the session of KEYS[1] and starts the one of KEYS[3], in one step.
local read_epoch, for_subject, kind, idle_time, lifetime, bound_key, details, id, old_id, why, kept =
  unpack(ARGV)
local index = KEYS[4]

local current = epoch_of(KEYS[2], for_subject)
if read_epoch ~= '' and tonumber(read_epoch) ~= current then
  return {'moved', now, 0}
end
if redis.call('EXISTS', KEYS[3]) == 1 then
  return {'exists', now, 0}
end
if is_over or has_ended or subject ~= for_subject then
  return {'ended', now, 0}
end
local last_end = now + tonumber(lifetime)
local first_end = math.min(last_end, now + tonumber(idle_time))
local fresh = struct.pack(FORM, 1, 0, 0, 0, 0, 0, now, first_end, 0, tonumber(idle_time), last_end, now,
  current, tonumber(kind), #for_subject, #bound_key) .. for_subject .. bound_key .. details
redis.call('SET', KEYS[3], fresh, 'PXAT', first_end + DAY)
tell(KEYS[5], KEYS[6], {'s' .. old_id}, now + tonumber(kept))
redis.call('ZREM', index, old_id)
finish(KEYS[1], tonumber(why), ends_by)
prune(index)
redis.call('ZADD', index, first_end, id)
local latest = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
redis.call('PEXPIREAT', index, tonumber(latest[2]))
return {'created', now, current}
