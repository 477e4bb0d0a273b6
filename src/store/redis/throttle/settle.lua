local batch, outcome = tonumber(ARGV[9]), ARGV[10]

-- A row that is gone says nothing any more.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local row = row_of(KEYS[1])
catch_up(row)
local was_open = row.open > 0 and row.batch == batch
if was_open then
  row.open = row.open - 1
end
local pause = 0
if outcome == 'failed' and was_open then
  pause = fail(row, now, 1)
elseif outcome == 'succeeded' and rule.clears then
  row.failures, row.blocked_until = 0, 0
end
write(KEYS[1], row)
return pause
