-- Write dossiers of one partition and the offsets that they hold, all of it or nothing.
-- KEYS     s:{p}:dmeta, then s:{p}:d:<video> of each document
-- ARGV     number of positions, [field, offset known so far, offset now] of each,
--          [revision that it was made from (0 for none), document] of each
-- Returns  'ok' | 'conflict' (another wrote a document) | 'behind' (a position went back)
local count = tonumber(ARGV[1])
local positions = {}
for i = 1, count do
  local at = 3 * i - 1
  local stored = tonumber(redis.call('HGET', KEYS[1], ARGV[at]) or '0')
  if stored < tonumber(ARGV[at + 1]) then
    return 'behind'
  end
  if stored < tonumber(ARGV[at + 2]) or stored == 0 then
    positions[#positions + 1] = ARGV[at]
    positions[#positions + 1] = ARGV[at + 2]
  end
end
local first = 3 * count + 2
for i = 2, #KEYS do
  local at = first + 2 * (i - 2)
  local stored = redis.call('GET', KEYS[i])
  local revision = stored and (string.match(stored, '^{"revision":(%d+),"dossier":') or '-1') or '0'
  if revision ~= ARGV[at] and stored ~= ARGV[at + 1] then
    return 'conflict'
  end
end
for i = 2, #KEYS do
  redis.call('SET', KEYS[i], ARGV[first + 2 * (i - 2) + 1])
end
for i = 1, #positions, 2 do
  redis.call('HSET', KEYS[1], positions[i], positions[i + 1])
end
return 'ok'
