-- The keys after the first one are sessions, except for the last one, which contains the identifiers of the
-- users by subject. The last argument is the prefix of the keys of users, which share the slot of KEYS.
local sessions, names, users = #KEYS - 2, KEYS[#KEYS], ARGV[#ARGV]

-- Returns the roles of a user who may sign in. Roles that are not a list of texts are an error of the
-- slow path, which writes nothing.
local function roles_of(subject)
  local name = redis.call('HGET', names, subject)
  local user = name and redis.pcall('HMGET', users .. name, 'roles', 'off')
  if not user or user.err or not user[1] or (user[2] or '0') ~= '0' then
    return false
  end
  local is_json, roles = pcall(cjson.decode, user[1])
  if not is_json or type(roles) ~= 'table' or string.byte(user[1]) ~= string.byte('[') then
    return false
  end
  for i = 1, #roles do
    if type(roles[i]) ~= 'string' then
      return false
    end
  end
  return user[1]
end
