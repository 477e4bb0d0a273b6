local session_key, epochs, index, since = unpack(KEYS)
local read_epoch, subject, kind, idle, lifetime, info, id = unpack(ARGV)

local epoch = epoch_of(epochs, subject)
if read_epoch ~= '' and tonumber(read_epoch) ~= epoch then
  return {'moved', now, 0, {}}
end
if redis.call('EXISTS', session_key) == 1 then
  return {'exists', now, 0, {}}
end
-- Before the first of its tokens, so that none is older than what is known here.
redis.call('SET', since, math.floor(now / 1000) * 1000, 'NX')
local session = {used = now, idle = tonumber(idle), exp = now + tonumber(lifetime)}
redis.call('HSET', session_key, 'sub', subject, 'kind', kind, 'ep', epoch, 'gen', 0, 're', 0,
  'used', now, 'idle', idle, 'exp', session.exp, 'born', now, 'info', info)
keep(session_key, session)

-- The subject's sessions by the time when their keys are gone at the latest.
redis.call('ZREMRANGEBYSCORE', index, '-inf', now)
redis.call('ZADD', index, session.exp + DAY, id)
local last = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
redis.call('PEXPIREAT', index, tonumber(last[2]))
return answer(session_key, epochs, 'created')
