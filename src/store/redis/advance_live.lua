-- Advances sessions from their live generations. The keys of sessions follow two others, and end with their
-- identifiers. Three arguments for each session follow two others. With a prefix of users, only the sessions
-- of users who may sign in are advanced. The indexes and the users share the slot of KEYS.
local epochs, identifiers = KEYS[1], KEYS[2]
local indexes, users = ARGV[1], ARGV[2]
local ID_LENGTH = 32

-- Everything that can fail for all sessions comes before the first write. A session that cannot be read
-- is not advanced: its load reports the error.
local rows = redis.call('MGET', unpack(KEYS, 3))
local subjects = {}
for i, row in ipairs(rows) do
  subjects[i] = row and #row > 90 and string.sub(row, 92, 91 + struct.unpack('>I4', row, 84)) or ''
end
local raised = redis.call('HMGET', epochs, unpack(subjects))
local names = users ~= '' and redis.call('HMGET', identifiers, unpack(subjects))

-- Returns the roles of a user who may sign in. Roles that are not a list of texts are an error of the
-- slow path, which writes nothing.
local function roles_of(name)
  local user = name and redis.pcall('HMGET', users .. name, 'roles', 'off')
  if not user or user.err or not user[1] or (user[2] or '0') ~= '0' then
    return false
  end
  local is_json, roles = pcall(cjson.decode, user[1])
  if not is_json or type(roles) ~= 'table' or string.byte(user[1]) ~= string.byte('[') then
    return false
  end
  for _, role in ipairs(roles) do
    if type(role) ~= 'string' then
      return false
    end
  end
  return user[1]
end

local changed, roles = {}, {}
for i, row in ipairs(rows) do
  changed[i], roles[i] = false, false
  if row and #row > 90 and string.byte(row) == 1 then
    local _, reason, generation, _, confirmed, rotated, used, ends_by, reissues, idle, expires, _, epoch, kind, subject_length, key_length =
      struct.unpack(FORM, row)
    local live, grace, bound_key = unpack(ARGV, 3 * i, 3 * i + 2)
    live, grace = tonumber(live), tonumber(grace)
    if reason == 0 and epoch >= tonumber(raised[i] or '0') and now < expires and now < used + idle
        and generation == live
        and string.sub(row, 92 + subject_length, 91 + subject_length + key_length) == bound_key
        and not (grace > 0 and rotated > 0 and now <= rotated + grace and rotated <= now + grace) then
      local is_user = names and kind == 0
      roles[i] = is_user and roles_of(names[i])
      local id = string.sub(KEYS[i + 2], -ID_LENGTH)
      if (roles[i] or not is_user)
          and not stamp(KEYS[i + 2], indexes .. subjects[i], id, ends_by, idle, expires,
            live + 1, live + 1, confirmed, reissues) then
        changed[i] = row
      end
    end
  end
end
return {now, changed, roles}
