local session_key, epochs, news, revoked = unpack(KEYS)
local reason, lifetime, id = unpack(ARGV)

local session = read(session_key)
if not session or is_over(session, epochs) then
  return 0
end
finish(session_key, id, reason, news, revoked, tonumber(lifetime))
return has_expired(session) and 0 or 1
