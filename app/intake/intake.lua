-- Takes one batch over, in one step, safe to repeat.
--
-- 1. The stream is at its cap: answer FULL before anything is written. The stream is never
--    trimmed, trimming drops entries that nobody has stored.
-- 2. Count the events against their limits; over one of them: answer LIMITED.
-- 3. Look the ids up in every live set of seen ids.
-- 4. Append the new events as one entry, and only then mark them as seen. A failure between the
--    two can cost a duplicate, which Postgres refuses, and never an event.
-- 5. Count the outcomes in the same step.
--
-- KEYS  1 the stream
--       2 the counts of the day
--       3 the all-time counts
--       then l counters of events in this minute
--       then the sets of seen ids, the current bucket first
-- ARGV  1 cap of the stream (entries)
--       2 lifetime of a set of seen ids (s)
--       3 lifetime of the counts of the day (s)
--       4 lifetime of a counter (s)
--       5 number of events received, for the limits
--       6 l, the number of limits
--       7 n, the number of events
--       8 to 12  the entry: version, shop, batch line, the n event lines joined by newlines, and
--          the rejected events
--       then l limits, n insert keys, pairs of an outcome's name and its number
--
-- Answer: "FULL", "LIMITED", or the number of events that were seen before.

local l, n = tonumber(ARGV[6]), tonumber(ARGV[7])
local FIXED_KEYS, FIXED_ARGS = 3, 12

local function count(name, number)
    redis.call('HINCRBY', KEYS[3], name, number)
    if redis.call('HINCRBY', KEYS[2], name, number) == tonumber(number) then
        redis.call('EXPIRE', KEYS[2], ARGV[3], 'NX')
    end
end

if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then
    return 'FULL'
end

for i = 1, l do
    local counter, received = KEYS[FIXED_KEYS + i], tonumber(ARGV[5])
    local sum = redis.call('INCRBY', counter, received)
    if sum == received then
        redis.call('EXPIRE', counter, ARGV[4])
    end
    if sum > tonumber(ARGV[FIXED_ARGS + i]) then
        count('rate_limited', received)
        return 'LIMITED'
    end
end

local first_id = FIXED_ARGS + l + 1
local news, lines, repeats = {}, ARGV[11], 0
if n > 0 then
    news = {unpack(ARGV, first_id, first_id + n - 1)}
    local ids, seen = {unpack(news)}, {}
    for set = FIXED_KEYS + l + 1, #KEYS do
        for i, is_member in ipairs(redis.call('SMISMEMBER', KEYS[set], unpack(ids))) do
            if is_member == 1 and not seen[i] then
                seen[i], repeats = true, repeats + 1
            end
        end
    end
    if repeats > 0 then
        local i, kept = 0, {}
        news = {}
        for line in string.gmatch(lines, '[^\n]+') do
            i = i + 1
            if not seen[i] then
                news[#news + 1], kept[#kept + 1] = ids[i], line
            end
        end
        lines = table.concat(kept, '\n')
    end
end

if #news > 0 or ARGV[12] ~= '' then
    local batch = #news > 0 and ARGV[10] or ''
    redis.call('XADD', KEYS[1], '*', 'v', ARGV[8], 'shop', ARGV[9], 'batch', batch,
        'events', lines, 'rejected', ARGV[12])
end
if #news > 0 then
    local current = KEYS[FIXED_KEYS + l + 1]
    redis.call('SADD', current, unpack(news))
    redis.call('EXPIRE', current, ARGV[2], 'NX')
    count('accepted', #news)
end
if repeats > 0 then
    count('duplicate', repeats)
end
for i = first_id + n, #ARGV, 2 do
    count(ARGV[i], ARGV[i + 1])
end

return repeats
