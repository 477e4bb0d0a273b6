-- The keys after the first one are sessions. Their subjects may always sign in.
local sessions, roles_of = #KEYS - 1
