-- `refresh::decide` and `refresh::apply`, line by line.

local session_key, epochs, news, revoked = unpack(KEYS)
local presented, grace, late, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local lifetime, id, reuse = tonumber(ARGV[5]), ARGV[6], ARGV[7]

local s = read(session_key)
if not s then
  return false
end

local function since_rotation(window)
  return s.rot ~= nil and now <= s.rot + window and s.rot <= now + window
end
local in_grace = grace > 0 and since_rotation(grace)
local unconfirmed = s.conf == nil or s.conf < s.gen

local outcome
if is_over(s, epochs) then
  outcome = 'revoked'
elseif now >= s.exp then
  outcome = 'expired'
elseif now >= s.used + s.idle then
  outcome = 'idle'
elseif presented == s.gen then
  outcome = in_grace and 'fresh' or 'rotated'
elseif presented > s.gen then
  outcome = 'ahead'
elseif s.par == presented then
  if in_grace then
    outcome = 'retried'
  elseif late > 0 and since_rotation(late) and unconfirmed and s.re < most then
    outcome = 'reissued'
  else
    outcome = 'late_parent'
  end
elseif s.par ~= nil and presented > s.par then
  outcome = 'displaced_child'
else
  outcome = 'stale_lineage'
end

if outcome == 'rotated' or outcome == 'ahead' then
  redis.call('HSET', session_key, 'gen', presented + 1, 'par', presented, 'rot', now, 'used', now)
elseif outcome == 'reissued' then
  redis.call('HSET', session_key, 'gen', s.gen + 1, 're', s.re + 1, 'rot', now, 'used', now)
elseif outcome == 'late_parent' or outcome == 'displaced_child' or outcome == 'stale_lineage' then
  finish(session_key, id, reuse, news, revoked, lifetime)
end
if outcome == 'rotated' or outcome == 'ahead' or outcome == 'reissued' then
  s.used = now
  keep(session_key, s)
end
return answer(session_key, epochs, outcome)
