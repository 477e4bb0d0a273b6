-- `login::ThrottleRow`, line by line.

local rule = {
  free = tonumber(ARGV[1]), first = tonumber(ARGV[2]), longest = tonumber(ARGV[3]),
  memory = tonumber(ARGV[4]), slides = ARGV[5] == '1', clears = ARGV[6] == '1',
  hold = tonumber(ARGV[7]), forever = tonumber(ARGV[8]),
}

local ROW = {'failures', 'open', 'batch', 'open_until', 'blocked_until', 'forgotten_at'}

local function row_of(key)
  local row = {}
  for i, value in ipairs(redis.call('HMGET', key, unpack(ROW))) do
    row[ROW[i]] = tonumber(value or 0)
  end
  return row
end

local function wait(failures)
  if failures < rule.free then
    return 0
  end
  local doublings = failures - rule.free
  local factor = doublings > 31 and 4294967295 or 2 ^ doublings
  return math.min(rule.first * factor, rule.longest)
end

local function forget(row, at)
  if row.failures > 0 and at >= row.forgotten_at then
    row.failures, row.blocked_until = 0, 0
  end
end

local function fail(row, at, count)
  local first = row.failures == 0
  row.failures = row.failures + count
  local pause = wait(row.failures)
  if pause > 0 then
    row.blocked_until = at + pause
  end
  if first or rule.slides then
    row.forgotten_at = at + pause + rule.memory
  end
  if pause >= rule.forever then
    row.forgotten_at = row.blocked_until
  end
  return pause
end

local function catch_up(row)
  if row.open > 0 and now >= row.open_until then
    local lost, at = row.open, row.open_until
    row.open = 0
    forget(row, at)
    fail(row, at, lost)
  end
  forget(row, now)
end

-- A row goes when it says no more than no row, also if what is open is never settled.
local function write(key, row)
  local kept = row.forgotten_at
  if row.open > 0 then
    local lost = row.open_until + wait(row.failures + row.open) + rule.memory
    kept = row.failures > 0 and math.max(kept, lost) or lost
  elseif row.failures == 0 then
    redis.call('DEL', key)
    return
  end
  for _, name in ipairs(ROW) do
    redis.call('HSET', key, name, row[name])
  end
  redis.call('PEXPIREAT', key, kept)
end
