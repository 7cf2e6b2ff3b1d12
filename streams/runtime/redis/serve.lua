-- Apply receipts of one slice to its serving index; each (video, n) counts once.
-- KEYS     s:slice:<slice> (zset, score = index), s:slice:<slice>:grants (video -> "n:allowance")
-- ARGV     groups of four in the order of the receipts: video, n, index ('' for a stop), allowance
-- Returns  how many of them were new
local candidates, grants = KEYS[1], KEYS[2]
local applied = 0
for i = 1, #ARGV, 4 do
  local video, n, index, allowance = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local last = redis.call('HGET', grants, video)
  if not last or tonumber(n) > tonumber(string.match(last, '^%d+')) then
    if index == '' then
      redis.call('ZREM', candidates, video)
    else
      redis.call('ZADD', candidates, index, video)
    end
    redis.call('HSET', grants, video, n .. ':' .. allowance)
    applied = applied + 1
  end
end
return applied
