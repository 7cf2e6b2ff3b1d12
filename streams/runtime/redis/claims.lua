-- Take one of the full guarantees that a creator has a day, if there is one left.
-- KEYS     s:{p}:dclaims:<creator>: hash of videos, each with its day; s:{p}:dmeta
-- ARGV     video, day, most of a day, days that are kept, seconds of them, field of dmeta, how many
--          are known to have been taken in the partition
-- Returns  how many were ever taken in the partition if the video has one now, 0 if it had one
--          before, nothing if there is none left; where fewer were taken than is known none is, and
--          -1 less those is returned
local video, day = ARGV[1], tonumber(ARGV[2])
local count = tonumber(redis.call('HGET', KEYS[2], ARGV[6]) or '0')
if count < tonumber(ARGV[7]) then
  return -1 - count
end
local held = redis.call('HGETALL', KEYS[1])
local last, taken = day, 0
for i = 1, #held, 2 do
  if held[i] == video then
    return 0
  end
  local other = tonumber(held[i + 1])
  last = math.max(last, other)
  if other == day then
    taken = taken + 1
  end
end
local over = last - tonumber(ARGV[4])
if taken >= tonumber(ARGV[3]) or day <= over then
  return false
end
redis.call('HSET', KEYS[2], ARGV[6], count + 1)
for i = 1, #held, 2 do
  if tonumber(held[i + 1]) <= over then
    redis.call('HDEL', KEYS[1], held[i])
  end
end
redis.call('HSET', KEYS[1], video, ARGV[2])
redis.call('EXPIRE', KEYS[1], ARGV[5])
return count + 1
