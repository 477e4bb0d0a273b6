-- The functions that scripts share, after clock.lua. A script runs as one step: no other command runs in
-- between.

local HOUR = 60 * 60 * 1000
local DAY = 24 * HOUR

local function epoch_of(epochs, subject)
  return tonumber(redis.call('HGET', epochs, subject) or '0')
end

-- Writes revocations, for nodes that run and for nodes that start later.
local function tell(news, revoked, targets, till)
  local scores = {}
  for i, target in ipairs(targets) do
    scores[2 * i - 1], scores[2 * i] = till, target
    redis.call('XADD', news, 'MINID', '~', now - HOUR, '*', 'target', target, 'until', till)
  end
  redis.call('ZADD', revoked, 'GT', unpack(scores))
  local over = redis.call('ZRANGEBYSCORE', revoked, '-inf', now, 'LIMIT', 0, 10 * #targets)
  if #over > 0 then
    redis.call('ZREM', revoked, unpack(over))
  end
end

-- Marks a session as revoked. Its key stays for a week at most, so that a refresh can report the reason.
local function finish(key, reason, ends_by)
  redis.call('SETRANGE', key, 1, string.char(reason))
  redis.call('PEXPIREAT', key, math.min(ends_by + DAY, now + 7 * DAY))
end

-- Replaces the index of a subject whose sessions were all revoked by a raised epoch. One entry remains.
-- Its score is the latest end of these sessions: until then the epoch must not be deleted.
local function end_index(index)
  local last = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
  if last[1] then
    redis.call('UNLINK', index)
    redis.call('ZADD', index, last[2], '-')
    redis.call('PEXPIREAT', index, tonumber(last[2]))
  end
end

-- Removes at most 100 entries that ended by time. Every new entry calls it, which keeps the index small.
-- Reads of the index of a subject's sessions do not visit these entries.
local function prune(index)
  local over = redis.call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, 100)
  if #over > 0 then
    redis.call('ZREM', index, unpack(over))
  end
end
