-- What the scripts share. Each of them runs as one step: no other command comes between.

local DAY = 24 * 60 * 60 * 1000

-- Milliseconds since 1970. The server's clock is the only clock.
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)

-- Of these, par, conf, rot and why may be missing.
local FIELDS = {'sub', 'kind', 'ep', 'gen', 'par', 'conf', 'rot', 're', 'used', 'idle', 'exp', 'born', 'why', 'info'}

local function values_of(key)
  return redis.call('HMGET', key, unpack(FIELDS))
end

-- The session of this key with its numbers, or nil.
local function read(key)
  local values = values_of(key)
  if not values[1] then
    return nil
  end
  local session = {sub = values[1], marked = values[13] and true or false}
  for i = 3, 12 do
    session[FIELDS[i]] = tonumber(values[i] or nil)
  end
  return session
end

local function epoch_of(epochs, subject)
  return tonumber(redis.call('HGET', epochs, subject) or '0')
end

local function is_over(session, epochs)
  return session.marked or session.ep < epoch_of(epochs, session.sub)
end

local function has_expired(session)
  return now >= session.exp or now >= session.used + session.idle
end

-- A session is kept for a day after its end, so that its user is told why.
local function keep(key, session)
  redis.call('PEXPIREAT', key, math.min(session.exp, session.used + session.idle) + DAY)
end

-- Tells every node, those that start later as well.
local function tell(news, revoked, target, till)
  redis.call('ZADD', revoked, 'GT', till, target)
  redis.call('XADD', news, 'MINID', '~', now - 60 * 60 * 1000, '*', 'target', target, 'until', till)
  local over = redis.call('ZRANGEBYSCORE', revoked, '-inf', now, 'LIMIT', 0, 10)
  if #over > 0 then
    redis.call('ZREM', revoked, unpack(over))
  end
end

-- Marks a session as ended, for a week at most.
local function finish(key, id, reason, news, revoked, lifetime)
  redis.call('HSET', key, 'why', reason)
  local left = redis.call('PTTL', key)
  if left < 0 or left > 7 * DAY then
    redis.call('PEXPIRE', key, 7 * DAY)
  end
  tell(news, revoked, 's' .. id, now + lifetime)
end

local function answer(key, epochs, outcome)
  local session = read(key)
  local over = is_over(session, epochs) and 1 or 0
  return {outcome, now, over, values_of(key)}
end
