return epoch_of(KEYS[1], ARGV[1])
