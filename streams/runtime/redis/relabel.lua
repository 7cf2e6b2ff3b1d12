-- Put another namespace and meta in the place of a partition's; its rows and watermark stay.
-- KEYS     s:{p}:meta
-- ARGV     namespace, watermark and digest as they must be stored, then the new namespace, then
--          field, value, ... to set
-- Returns  1 | 0 if something else is stored
local stored = redis.call('HMGET', KEYS[1], 'namespace', 'watermark', 'digest')
if stored[1] == ARGV[4] and stored[2] == ARGV[2] then
  return 1 -- done already: the reply was lost
end
if stored[1] ~= ARGV[1] or stored[2] ~= ARGV[2] or stored[3] ~= ARGV[3] then
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV, 5))
return 1
