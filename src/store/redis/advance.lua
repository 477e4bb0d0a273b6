local from, to = {unpack(ARGV, 1, 3)}, {unpack(ARGV, 4, 6)}

if is_over or has_ended or generation ~= tonumber(from[1]) or reissues ~= tonumber(from[2])
    or confirmed ~= tonumber(from[3]) then
  return false
end
if math.min(expires, now + idle) > ends_by then
  local failed = postpone(KEYS[1], subject, idle, expires)
  if failed then
    return failed
  end
end
redis.call('SETRANGE', KEYS[1], 2,
  struct.pack('>I8I8I8I8I8', tonumber(to[1]), tonumber(to[2]), confirmed, now, now))
redis.call('SETRANGE', KEYS[1], 50, struct.pack('>I4', tonumber(to[3])))
return {now, 0, row}
