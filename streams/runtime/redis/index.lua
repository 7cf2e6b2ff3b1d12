-- What the scripts of the serving index share; each of them stands behind this text.
-- KEYS     of one slice: entries (hash), leases, removed (zsets), at, prices, slots, meta (hashes),
--          fresh (zset, score = deadline), then one zset a class (score = score): the ranked pairs
-- ARGV[1]  how many pairs a list may hold
--
-- An entry is MessagePack, and so that a list has it by its score alone, a member is the pair's
-- tie, which nobody can choose, and then the video. What is left of a pair is its allowance less
-- what was counted and what is leased. Its leases stand behind the entry, those of one second
-- together, the oldest first: until, impressions, until, impressions, ...
local ENTRIES, LEASES, REMOVED, AT = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local PRICES, SLOTS, META, FRESH = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local OFFSET, SCORE, ALLOWANCE, IMPRESSIONS, LEASED = 1, 2, 3, 4, 5
local KIND, DEADLINE, DUE, TIE, FACTOR, FIRST = 6, 7, 8, 9, 10, 11
local CLASSES = {'0', '0c', '1', '1c', '2', '2c', '3', '3c', '4', '4c', '5', '5c'}
local LISTS = {}
for i = 1, #CLASSES do
  LISTS[CLASSES[i]] = KEYS[8 + i]
end
local TIE_LENGTH = 8
local AT_ONCE = 4000 -- values of one command: Lua's unpack overflows its stack near 8,000
local LEASE_LONGEST = 60 -- seconds that a lease stands
local most = tonumber(ARGV[1])
local clock = redis.call('TIME')
local now = tonumber(clock[1])
local now_ms = now * 1000 + math.floor(tonumber(clock[2]) / 1000)

local known = {} -- video -> its pair, false if there is none
local changed = {} -- videos whose pair `store` writes and sorts into the lists
local leased = {} -- videos whose pair it writes, and whose leases alone are others
local had_leases = {} -- videos that stand in `leases`
local were_due = {} -- videos that may stand in `fresh` though nothing is due any more

local function in_parts(command, key, values)
  for first = 1, #values, AT_ONCE do
    redis.call(command, key, unpack(values, first, math.min(first + AT_ONCE - 1, #values)))
  end
end

local function fetch(videos)
  local missing = {}
  for i = 1, #videos do
    if known[videos[i]] == nil then
      missing[#missing + 1] = videos[i]
    end
  end
  for first = 1, #missing, AT_ONCE do
    local last = math.min(first + AT_ONCE - 1, #missing)
    local raw = redis.call('HMGET', ENTRIES, unpack(missing, first, last))
    for i = 1, #raw do
      local video, pair = missing[first + i - 1], raw[i] and cmsgpack.unpack(raw[i])
      known[video] = pair
      had_leases[video] = pair and pair[FIRST] ~= nil
    end
  end
end

local function left(pair)
  if not pair[SCORE] then
    return 0
  end
  return math.max(pair[ALLOWANCE] - pair[IMPRESSIONS] - pair[LEASED], 0)
end

-- What a draw owes has no deadline, and comes first in `fresh` by that.
local function is_drawn(pair)
  return pair[DUE] > 0 and pair[DEADLINE] == 0
end

local function owed(pair)
  if pair[DEADLINE] <= now_ms and not is_drawn(pair) then
    return 0
  end
  return math.max(math.min(left(pair), pair[DUE] - pair[LEASED]), 0)
end

-- Take up to `count` leased impressions off a pair, the oldest first.
local function settle(pair, count)
  local at = FIRST
  while count > 0 and pair[at] do
    local some = math.min(count, pair[at + 1])
    pair[at + 1] = pair[at + 1] - some
    pair[LEASED] = pair[LEASED] - some
    count = count - some
    if pair[at + 1] == 0 then
      at = at + 2
    end
  end
  if at > FIRST then
    local length = #pair
    for i = FIRST, length do
      pair[i] = pair[i + at - FIRST]
    end
  end
end

-- A lease whose end is further off than any lease is long was made before the clock was set back.
local furthest = now + LEASE_LONGEST + 1
local function is_over(until_s)
  return until_s <= now or until_s > furthest
end

local function drop_over(pair)
  local kept, length = FIRST, #pair
  for at = FIRST, length, 2 do
    if is_over(pair[at]) then
      pair[LEASED] = pair[LEASED] - pair[at + 1]
    else
      pair[kept], pair[kept + 1] = pair[at], pair[at + 1]
      kept = kept + 2
    end
  end
  for at = length, kept, -1 do
    pair[at] = nil
  end
end

-- Leases that nobody settled in time come back, so many videos a call.
local function take_back()
  local late = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now, 'LIMIT', 0, 100)
  local ahead = redis.call('ZRANGEBYSCORE', LEASES, '(' .. furthest, '+inf', 'LIMIT', 0, 100)
  for i = 1, #ahead do
    late[#late + 1] = ahead[i]
  end
  fetch(late)
  for i = 1, #late do
    local pair = known[late[i]]
    if pair then
      drop_over(pair)
      changed[late[i]] = true
    else
      redis.call('ZREM', LEASES, late[i])
    end
  end
end

local function sort_into(lists, key, member, score)
  local list = lists[key]
  if not list then
    list = {add = {}, remove = {}}
    lists[key] = list
  end
  if score then
    list.add[#list.add + 1] = score
    list.add[#list.add + 1] = member
  else
    list.remove[#list.remove + 1] = member
  end
end

-- Write every changed pair and have each list hold what it should, the best of it. What a full
-- list had no place for comes into it again when its worker tells of it, at the latest in the sweep.
local function store()
  local rows, lists = {}, {}
  for video in pairs(leased) do
    if not changed[video] then
      rows[#rows + 1] = video
      rows[#rows + 1] = cmsgpack.pack(known[video])
      if not known[video][FIRST + 2] then
        sort_into(lists, LEASES, video, known[video][FIRST])
      end
    end
  end
  for video in pairs(changed) do
    local pair = known[video]
    local member = pair[TIE] .. video
    rows[#rows + 1] = video
    rows[#rows + 1] = cmsgpack.pack(pair)
    if pair[FIRST] or had_leases[video] then
      sort_into(lists, LEASES, video, pair[FIRST])
    end
    sort_into(lists, LISTS[pair[KIND]], member, left(pair) > 0 and pair[SCORE])
    if pair[DUE] > 0 or were_due[video] then
      sort_into(lists, FRESH, member, owed(pair) > 0 and pair[DEADLINE])
    end
  end
  in_parts('HSET', ENTRIES, rows)
  for key, list in pairs(lists) do
    in_parts('ZREM', key, list.remove)
    in_parts('ZADD', key, list.add)
    if key ~= LEASES and #list.add > 0 then
      local over = redis.call('ZCARD', key) - most
      if over > 0 and key == FRESH then
        redis.call('ZREMRANGEBYRANK', key, most, -1)
      elseif over > 0 then
        redis.call('ZREMRANGEBYRANK', key, 0, over - 1)
      end
    end
  end
  changed, leased = {}, {}
end

-- Return a function that gives the next best video of all lists and its score with the number of
-- its class added, until that is negative. Lists are read page by page, each twice as long as the
-- one before; about `wanted` are asked for.
local function ranking(added, wanted)
  local heads = {}
  local few = math.ceil(wanted / #CLASSES) + 1
  local function read(head)
    local last = head.start + head.few - 1
    head.page = redis.call('ZREVRANGE', head.list, head.start, last, 'WITHSCORES')
    head.ends = #head.page < 2 * head.few
    head.start = last + 1
    head.few = math.min(2 * head.few, 256)
    head.at = 1
  end
  local function settle_on(head)
    head.member = head.page[head.at]
    head.net = head.member and tonumber(head.page[head.at + 1]) + head.added
  end
  for i = 1, #CLASSES do
    local head = {list = LISTS[CLASSES[i]], added = added[CLASSES[i]] or 0, start = 0, few = few}
    read(head)
    settle_on(head)
    if head.member then
      heads[#heads + 1] = head
    end
  end
  return function()
    local best
    for i = 1, #heads do
      local head = heads[i]
      if head.member and head.net >= 0 and (not best or head.net > best.net
          or head.net == best.net and head.member > best.member) then
        best = head
      end
    end
    if not best then
      return nil
    end
    local video, net = string.sub(best.member, TIE_LENGTH + 1), best.net
    best.at = best.at + 2
    if not best.page[best.at] and not best.ends then
      read(best)
    end
    settle_on(best)
    return video, net
  end
end

-- What a caller has nothing to say of may be left empty; otherwise it is MessagePack.
local function unpacked(text)
  return text and text ~= '' and cmsgpack.unpack(text) or {}
end

-- Tell whether a person froze the slice: then nothing is shown, whatever the lists hold.
local function is_frozen()
  return redis.call('HGET', PRICES, 'frozen') == '1'
end

-- Return what is added to the score of each class: its tilt less its price.
local function added_by_class(tilts)
  local added = {}
  for i = 1, #tilts, 2 do
    added[tilts[i]] = tilts[i + 1]
  end
  local prices = redis.call('HMGET', PRICES, unpack(CLASSES))
  for i = 1, #CLASSES do
    added[CLASSES[i]] = (added[CLASSES[i]] or 0) - tonumber(prices[i] or 0)
  end
  return added
end

take_back()
if next(changed) then
  store() -- what came back may be leased at once
end
