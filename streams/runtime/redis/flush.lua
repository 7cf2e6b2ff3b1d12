-- Store the fold of a run of records, all of it or nothing.
-- KEYS     s:{p}:meta, then s:{p}:v:<video> of each row, then of each video that leaves, then
--          s:{p}:a:<bucket> of each of those and of each that returns. All are declared: a cluster that moves a
--          slot sends whoever names a key that has left to where it is; undeclared, the script
--          would write a second hash of that name here, and lose it.
-- ARGV     namespace, expected watermark, new watermark, event_time, digest, policy ('=' for the one
--          that is stored), mark, keys, traffic, generations, skips,
--          rows as MessagePack: [[field, value, field, value, ...], ...] in the order of KEYS,
--          as MessagePack [[[video, pointer], ...], [video, ...]]: who leaves for the archive, who
--          returns from it; '' for nobody
-- Returns  {'ok'} | {'noop'} | {'conflict', stored watermark} | {'namespace', stored namespace}
--
-- A script that fails after its first write leaves that write behind. So every key's type is
-- checked first (HLEN fails on any other type), and what else may refuse a write (memory, a
-- read-only replica, a full disk) refuses the first one.
local meta = KEYS[1]
local namespace, expected, new = ARGV[1], ARGV[2], ARGV[3]

local stored = redis.call('HMGET', meta, 'namespace', 'watermark', 'digest', 'moved')
local fresh = not stored[1] and not stored[2]
if not fresh and stored[1] ~= namespace then
  return {'namespace', stored[1] or ''}
end
if not fresh and not stored[2] then
  return {'conflict', '-1'}
end
local watermark = stored[2] or '-1'
-- Only a flush whose reply was lost finds its own watermark and its own digest. Another owner's
-- flush up to the same offset has the same digest too, unless one of the two counted wrong; what it
-- sent to the archive it alone knows.
local moved = ARGV[13] ~= '' and redis.sha1hex(ARGV[13]) or ''
if watermark == new and stored[3] == ARGV[5] and (stored[4] or '') == moved then
  return {'noop'}
end
-- A watermark only rises. Doubles are exact up to 2^53: more offsets than a century brings.
if watermark ~= expected or tonumber(new) <= tonumber(watermark) then
  return {'conflict', watermark}
end

local rows = cmsgpack.unpack(ARGV[12])
for i = 2, #KEYS do
  redis.call('HLEN', KEYS[i])
end
local limit = 4000 -- Lua's unpack overflows its stack near 8,000 values
for i = 1, #rows do
  local key, fields = KEYS[i + 1], rows[i]
  for first = 1, #fields, limit do
    redis.call('HSET', key, unpack(fields, first, math.min(first + limit - 1, #fields)))
  end
end
if moved ~= '' then
  local both = cmsgpack.unpack(ARGV[13])
  local departed, returned, change = both[1], both[2], 0
  local gone, buckets = 1 + #rows, 1 + #rows + #departed
  for i = 1, #departed do
    redis.call('UNLINK', KEYS[gone + i])
    change = change + redis.call('HSET', KEYS[buckets + i], departed[i][1], departed[i][2])
  end
  for i = 1, #returned do
    change = change - redis.call('HDEL', KEYS[buckets + #departed + i], returned[i])
  end
  redis.call('HINCRBY', meta, 'archived', change)
end
if ARGV[6] ~= '=' then -- that is the one that is stored
  redis.call('HSET', meta, 'policy', ARGV[6])
end
redis.call('HSET', meta, 'namespace', namespace, 'event_time', ARGV[4], 'digest', ARGV[5],
  'mark', ARGV[7], 'keys', ARGV[8], 'traffic', ARGV[9],
  'generations', ARGV[10], 'skips', ARGV[11], 'moved', moved, 'watermark', new)
return {'ok'}
