-- The keys of the sessions are in the slot of those named.

local index, epochs = KEYS[1], KEYS[2]
local prefix, most = ARGV[1], tonumber(ARGV[2])

local alive = {}
for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
  local session = read(prefix .. id)
  if session and not is_over(session, epochs) and not has_expired(session) then
    session.id = id
    alive[#alive + 1] = session
  end
end
table.sort(alive, function(a, b)
  return a.used > b.used or (a.used == b.used and a.id < b.id)
end)
local rows = {}
for i = 1, math.min(most, #alive) do
  rows[i] = {alive[i].id, values_of(prefix .. alive[i].id)}
end
return rows
