-- Take impressions for a feed server.
-- ARGV     most, seconds until a lease comes back, slots, most of one video, share of `fresh` in
--          millionths ('' for that of the policy), tilts as MessagePack: [class, tilt, ...], videos
--          that are left out as MessagePack: [video, ...]; '' for none of either
-- Returns  video, impressions, net score, 'rank', 'fresh' or 'explore', until, score, factor of
--          its bid, and so on
if redis.call('EXISTS', AT) == 0 then
  return {} -- nobody ever told of this slice: no key is made for a name that somebody invented
end
local lease_s = math.min(tonumber(ARGV[2]), LEASE_LONGEST)
local slots, each = tonumber(ARGV[3]), tonumber(ARGV[4])
local share = tonumber(ARGV[5] ~= '' and ARGV[5] or redis.call('HGET', PRICES, 'fresh') or 0)
local added = added_by_class(unpacked(ARGV[6]))
local left_out = {}
for _, video in ipairs(unpacked(ARGV[7])) do
  left_out[video] = true
end
local until_s = now + lease_s + 1 -- of the whole second, so that those of one stand together
local FRESH_PAGE, FRESH_MOST = 8, 200
local MINUTES, SLOTS_KEPT_S = 1440, 172800
local out, taken = {}, {}

local function take(video, pair, wanted, net, via)
  local count = math.min(wanted, each - (taken[video] or 0))
  if count <= 0 then
    return 0
  end
  pair[LEASED] = pair[LEASED] + count
  if #pair >= FIRST and pair[#pair - 1] == until_s then
    pair[#pair] = pair[#pair] + count
  else
    pair[#pair + 1] = until_s
    pair[#pair + 1] = count
  end
  if pair[DUE] > 0 or left(pair) == 0 then
    changed[video] = true
  else
    leased[video] = true
  end
  taken[video] = (taken[video] or 0) + count
  local at = #out
  out[at + 1], out[at + 2], out[at + 3], out[at + 4] = video, count, net, via
  out[at + 5], out[at + 6], out[at + 7] = until_s, pair[SCORE], pair[FACTOR]
  return count
end

local function lease_fresh(quota)
  local given, start = 0, 0
  while given < quota and start < FRESH_MOST do
    local page = redis.call('ZRANGE', FRESH, start, start + FRESH_PAGE - 1)
    if #page == 0 then
      break
    end
    start = start + #page
    for i = 1, #page do
      page[i] = string.sub(page[i], TIE_LENGTH + 1)
    end
    fetch(page)
    for i = 1, #page do
      local pair = known[page[i]]
      if given < quota and owed(pair) > 0 and not left_out[page[i]] then
        local net = pair[SCORE] + added[pair[KIND]]
        local via = is_drawn(pair) and 'explore' or 'fresh'
        given = given + take(page[i], pair, math.min(owed(pair), quota - given), net, via)
      elseif owed(pair) == 0 then
        changed[page[i]] = true -- its time is over: `store` takes it off
      end
    end
  end
  return given
end

local function lease_ranked(wanted)
  local given, next_best = 0, ranking(added, wanted / each)
  while given < wanted do
    local video, net = next_best()
    if not video then
      break
    end
    if not left_out[video] then
      fetch({video})
      local pair = known[video]
      given = given + take(video, pair, math.min(left(pair), wanted - given), net, 'rank')
    end
  end
  return given
end

local function count_slots(fresh, rank)
  local minute = math.floor(now / 60)
  local field = tostring(minute % MINUTES)
  local kept = {0, 0, 0}
  local then_, asked_, rank_, fresh_ = string.match(
    redis.call('HGET', SLOTS, field) or '', '^(%d+):(%d+):(%d+):(%d+)$')
  if tonumber(then_) == minute then
    kept = {asked_, rank_, fresh_}
  end
  redis.call('HSET', SLOTS, field, string.format('%d:%d:%d:%d', minute,
    kept[1] + slots, kept[2] + rank, kept[3] + fresh))
  redis.call('EXPIRE', SLOTS, SLOTS_KEPT_S)
end

if is_frozen() then
  count_slots(0, 0)
  return out
end
local fresh = 0
if share > 0 then
  local due = tonumber(redis.call('HGET', META, 'fresh') or 0) + slots * share
  fresh = lease_fresh(math.min(math.floor(due / 1000000), slots))
  due = due - fresh * 1000000
  -- what nobody is owed is not saved up; a fraction is, or small leases would never give any
  redis.call('HSET', META, 'fresh', string.format('%d', due % 1000000))
end
local rank = lease_ranked(slots - fresh)
count_slots(fresh, rank)
store()
return out
