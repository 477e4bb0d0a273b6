-- One step, from a place in the index on. The keys of the sessions share the slot of KEYS.

local index, epochs = KEYS[1], KEYS[2]
local prefix, from, step = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

-- Sessions that ended by time come last.
local last = math.min(from + step, redis.call('ZCOUNT', index, '(' .. now, '+inf')) - 1
local ids = last >= from and redis.call('ZREVRANGE', index, from, last) or {}
local rows = {}
for _, id in ipairs(ids) do
  local row = id ~= '-' and redis.call('GET', prefix .. id)
  if row then
    local _, why, _, _, _, _, used, _, _, idle, expires, _, epoch, _, length = struct.unpack(FORM, row)
    local over = why ~= 0 or epoch < epoch_of(epochs, string.sub(row, 92, 91 + length))
    if not over and now < expires and now < used + idle then
      rows[#rows + 1] = {id, row}
    end
  end
end
return {#ids, rows}
