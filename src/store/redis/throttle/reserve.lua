local row = row_of(KEYS[1])
catch_up(row)
-- What is refused writes nothing.
if now < row.blocked_until then
  return {'wait', row.blocked_until - now}
end
if row.open >= math.max(rule.free - row.failures, 1) then
  return {'pending', row.open_until - now}
end
if row.open == 0 then
  row.batch = now
end
row.open = row.open + 1
row.open_until = now + rule.hold
write(KEYS[1], row)
return {'granted', row.batch}
