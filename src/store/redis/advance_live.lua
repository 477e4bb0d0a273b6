local live, grace, bound_key, id, indexes = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]

if is_over or has_ended or generation ~= live
    or string.sub(row, 92 + subject_length, 91 + subject_length + key_length) ~= bound_key
    or (grace > 0 and rotated > 0 and now <= rotated + grace and rotated <= now + grace) then
  return false
end
return stamp(id, indexes, live + 1, live + 1, confirmed, reissues)
