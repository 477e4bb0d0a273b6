if redis.call('EXISTS', KEYS[1]) == 0 then
  return false
end
return answer(KEYS[1], KEYS[2], 'found')
