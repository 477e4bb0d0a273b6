if generation == tonumber(ARGV[1]) and (confirmed ~= generation + 1 or reissues > 0) then
  redis.call('SETRANGE', KEYS[1], 18,
    struct.pack('>I8I8I8I8I4', generation + 1, rotated, used, ends_by, 0))
end
return 1
