-- Store full parts of a partition's window, and drop some, if the partition is as its owner left it.
-- KEYS     s:{p}:meta, s:{p}:window, then s:{p}:w:<first offset> of the parts that are stored, then
--          those of all that lose their ids
-- ARGV     namespace, watermark and digest as they must be stored, how many parts are stored, first
--          offset, entry and ids of each, then the first offsets whose entries are dropped
-- Returns  1 | 0 if something else is stored
local stored = redis.call('HMGET', KEYS[1], 'namespace', 'watermark', 'digest')
local fresh = not stored[1] and not stored[2] and ARGV[2] == '-1'
if not fresh and (stored[1] ~= ARGV[1] or stored[2] ~= ARGV[2] or stored[3] ~= ARGV[3]) then
  return 0
end
local count = tonumber(ARGV[4])
redis.call('HLEN', KEYS[2]) -- of another type it fails before anything is written
for i = 1, count do
  local key, at = KEYS[i + 2], 2 + 3 * i
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
  if ARGV[at + 2] == '' then
    redis.call('UNLINK', key)
  else
    redis.call('SET', key, ARGV[at + 2])
  end
end
for i = 3 + count, #KEYS do
  redis.call('UNLINK', KEYS[i])
end
for i = 5 + 3 * count, #ARGV do
  redis.call('HDEL', KEYS[2], ARGV[i])
end
return 1
