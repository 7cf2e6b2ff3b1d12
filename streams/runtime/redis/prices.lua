-- Put the prices of a slice in force unless a later policy's stand.
-- KEYS     prices (hash)
-- ARGV     term, n, then class and price, and so on; there too stand `fresh` and the share of
--          newcomers, in millionths of the slots, and `frozen` and whether nothing is shown, 1 or 0
-- Returns  1 if they are in force now, else 0
local stored = redis.call('HMGET', KEYS[1], 'term', 'n')
local term, n = tonumber(ARGV[1]), tonumber(ARGV[2])
if stored[1] then
  local last, last_n = tonumber(stored[1]), tonumber(stored[2])
  if term < last or term == last and n <= last_n then
    return 0
  end
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'term', term, 'n', n, unpack(ARGV, 3))
return 1
