-- Return the best pairs of a slice.
-- ARGV     most, how many, tilts as MessagePack: [class, tilt, ...]; '' for none
-- Returns  video, net score, left, allowance, class, and so on
local out, count = {}, is_frozen() and 0 or tonumber(ARGV[2])
local next_best = ranking(added_by_class(unpacked(ARGV[3])), count)
while #out < 5 * count do
  local video, net = next_best()
  if not video then
    break
  end
  fetch({video})
  local pair = known[video]
  local at = #out
  out[at + 1], out[at + 2], out[at + 3] = video, net, left(pair)
  out[at + 4], out[at + 5] = pair[ALLOWANCE], pair[KIND]
end
store()
return out
