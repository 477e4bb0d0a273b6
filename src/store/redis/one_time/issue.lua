-- Without a second key, the token belongs to no subject.
local token, of_subject = KEYS[1], KEYS[2]
local subject, purpose, lifetime = ARGV[1], ARGV[2], tonumber(ARGV[3])
local email, epoch = ARGV[4], ARGV[5]

if lifetime <= 0 or redis.call('EXISTS', token) == 1 then
  return 0
end
redis.call('HSET', token, 'sub', subject, 'for', purpose, 'email', email, 'ep', epoch)
redis.call('PEXPIRE', token, lifetime)
if of_subject then
  -- The index contains the tokens by the times at which they expire.
  prune(of_subject)
  redis.call('ZADD', of_subject, now + lifetime, token)
  local last = redis.call('ZREVRANGE', of_subject, 0, 0, 'WITHSCORES')
  redis.call('PEXPIREAT', of_subject, tonumber(last[2]))
end
return 1
