local why, lifetime, id, indexes = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4]

if is_over then
  return 0
end
finish(KEYS[1], id, indexes .. subject, why, KEYS[3], KEYS[4], lifetime)
return has_ended and 0 or 1
