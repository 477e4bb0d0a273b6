local why, lifetime, id, indexes = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]

if is_over then
  return 0
end
tell(KEYS[3], KEYS[4], {'s' .. id}, now + lifetime)
redis.call('ZREM', indexes .. subject, id)
finish(KEYS[1], why, ends_by)
return has_ended and 0 or 1
