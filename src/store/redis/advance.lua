local from, to = {unpack(ARGV, 1, 3)}, {unpack(ARGV, 4, 6)}
local id, indexes = ARGV[7], ARGV[8]

if is_over or has_ended or generation ~= tonumber(from[1]) or reissues ~= tonumber(from[2])
    or confirmed ~= tonumber(from[3]) then
  return false
end
local failed = stamp(KEYS[1], indexes .. subject, id, ends_by, idle, expires,
  tonumber(to[1]), tonumber(to[2]), confirmed, tonumber(to[3]))
return failed or {now, 0, row}
