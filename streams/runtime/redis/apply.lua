-- Put entries in, then note up to which offset partitions have told the slice everything.
-- ARGV     most, seconds that a removed pair keeps its offset, key of ties for a slice without one,
--          as MessagePack: [partition, offset, ...], [[video, offset, score or nil, allowance,
--          impressions, band, whether it is commercial, deadline, due, factor of its bid], ...]
-- Returns  how many were newer, then partition and position before of those that had one
local kept, key = tonumber(ARGV[2]), ARGV[3]
local positions, entries = cmsgpack.unpack(ARGV[4]), cmsgpack.unpack(ARGV[5])
local forgotten = redis.call('ZRANGEBYSCORE', REMOVED, '-inf', now, 'LIMIT', 0, 1000)
if #forgotten > 0 then
  redis.call('ZREM', REMOVED, unpack(forgotten))
  redis.call('HDEL', ENTRIES, unpack(forgotten))
  for i = 1, #forgotten do
    known[forgotten[i]], changed[forgotten[i]] = false, nil
  end
end
local videos = {}
for i = 1, #entries do
  videos[i] = entries[i][1]
end
fetch(videos)
if #entries > 0 then
  redis.call('HSETNX', META, 'key', key)
  key = redis.call('HGET', META, 'key')
end

local function tie_of(video)
  return string.sub(redis.sha1hex(key .. video), 1, TIE_LENGTH)
end

local written, gone = 0, {}
for i = 1, #entries do
  local video, offset, score, allowance, impressions, band, commercial, deadline, due, factor =
    unpack(entries[i], 1, 10)
  local kind = CLASSES[2 * band + (commercial and 2 or 1)]
  score = score or false
  local pair = known[video]
  local is_back = pair and offset == pair[OFFSET] and score and not pair[SCORE]
  if not pair or offset > pair[OFFSET] or is_back then
    if not pair then
      pair = {offset, false, 0, 0, 0, kind, 0, 0, tie_of(video), factor}
      known[video] = pair
    end
    if not score or not pair[SCORE] then
      gone[video] = not score
    end
    pair[OFFSET], pair[SCORE] = offset, score
    were_due[video] = pair[DUE] > 0 or were_due[video]
    if score then
      settle(pair, impressions - pair[IMPRESSIONS])
      if kind ~= pair[KIND] then
        redis.call('ZREM', LISTS[pair[KIND]], pair[TIE] .. video)
      end
      pair[ALLOWANCE], pair[IMPRESSIONS], pair[KIND] = allowance, impressions, kind
      pair[DEADLINE], pair[DUE], pair[FACTOR] = deadline, due, factor
    else
      pair[DUE] = 0
    end
    written = written + 1
  end
  changed[video] = true
end
local removed, back = {}, {}
for video, is_gone in pairs(gone) do
  if is_gone then
    removed[#removed + 1] = now + kept
    removed[#removed + 1] = video
  else
    back[#back + 1] = video
  end
end
in_parts('ZADD', REMOVED, removed)
in_parts('ZREM', REMOVED, back)
store()

local reply = {written}
local partitions = {}
for i = 1, #positions, 2 do
  partitions[#partitions + 1] = positions[i]
end
local before = #partitions > 0 and redis.call('HMGET', AT, unpack(partitions)) or {}
for i = 1, #partitions do
  local stored, offset = tonumber(before[i] or nil), positions[2 * i]
  if stored then
    reply[#reply + 1] = partitions[i]
    reply[#reply + 1] = stored
  end
  if not stored or offset > stored then
    redis.call('HSET', AT, partitions[i], offset)
  end
end
return reply
