-- Return impressions that a feed server leased and did not show.
-- ARGV     most, then video, impressions, until of each lease
-- Returns  how many of them were still leased

-- Take a lease off where it stands, and what was settled of it meanwhile off another one: counted
-- impressions settle the oldest leases, whosesoever they are.
local function return_some(pair, count, until_s)
  for at = FIRST, #pair, 2 do
    if pair[at] == until_s then
      local some = math.min(count, pair[at + 1])
      pair[at + 1] = pair[at + 1] - some
      pair[LEASED] = pair[LEASED] - some
      count = count - some
      if pair[at + 1] == 0 then
        table.remove(pair, at)
        table.remove(pair, at)
      end
      break
    end
  end
  settle(pair, count)
end

local returned = 0
for i = 2, #ARGV, 3 do
  local video, count, until_s = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  fetch({video})
  local pair = known[video]
  if pair and not is_over(until_s) then
    count = math.min(count, pair[LEASED])
    return_some(pair, count, until_s)
    changed[video] = true
    returned = returned + count
  end
end
store()
return returned
