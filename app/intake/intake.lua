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
--       3 the counts since ever
--       then l counters of events in this minute
--       then the sets of seen ids, the current bucket first
-- ARGV  1 cap of the stream (entries)
--       2 lifetime of a set of seen ids (s)
--       3 lifetime of the counts of the day (s)
--       4 lifetime of a counter (s)
--       5 number of events received, for the limits and the counts
--       6 l, the number of limits
--       7 n, the number of events
--       8 m, the number of counts
--       9, 10, 11, 12  version, shop, batch line and rejected events of the entry
--       then l limits, n insert keys, n event lines, m pairs of an outcome's name and its number
--
-- Answer: "FULL", "LIMITED", or a text of n digits, 1 for each event that is new, 0 for one seen
-- before.

local received = tonumber(ARGV[5])
local l, n, m = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local FIXED_KEYS, FIXED_ARGS = 3, 12

local function count(counts)
    for name, number in pairs(counts) do
        if number > 0 then
            redis.call('HINCRBY', KEYS[2], name, number)
            redis.call('HINCRBY', KEYS[3], name, number)
        end
    end
    redis.call('EXPIRE', KEYS[2], ARGV[3], 'NX')
end

if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then
    return 'FULL'
end

for i = 1, l do
    local counter = KEYS[FIXED_KEYS + i]
    local sum = redis.call('INCRBY', counter, received)
    if sum == received then
        redis.call('EXPIRE', counter, ARGV[4])
    end
    if sum > tonumber(ARGV[FIXED_ARGS + i]) then
        count({received = received, rate_limited = received})
        return 'LIMITED'
    end
end

local first_set, first_id = FIXED_KEYS + l + 1, FIXED_ARGS + l + 1
local first_line, first_count = first_id + n, first_id + 2 * n
local news, keys, lines = {}, {}, {}
if n > 0 then
    local ids = {unpack(ARGV, first_id, first_id + n - 1)}
    for i = 1, n do
        news[i] = '1'
    end
    for set = first_set, #KEYS do
        for i, seen in ipairs(redis.call('SMISMEMBER', KEYS[set], unpack(ids))) do
            if seen == 1 then
                news[i] = '0'
            end
        end
    end
    for i = 1, n do
        if news[i] == '1' then
            keys[#keys + 1] = ids[i]
            lines[#lines + 1] = ARGV[first_line + i - 1]
        end
    end
end

if #keys > 0 or ARGV[12] ~= '' then
    local batch = #keys > 0 and ARGV[11] or ''
    redis.call('XADD', KEYS[1], '*', 'v', ARGV[9], 'shop', ARGV[10], 'batch', batch,
        'events', table.concat(lines, '\n'), 'rejected', ARGV[12])
end
if #keys > 0 then
    redis.call('SADD', KEYS[first_set], unpack(keys))
    redis.call('EXPIRE', KEYS[first_set], ARGV[2], 'NX')
end

local counts = {received = received, accepted = #keys, duplicate = n - #keys}
for i = first_count, first_count + 2 * m - 1, 2 do
    counts[ARGV[i]] = (counts[ARGV[i]] or 0) + tonumber(ARGV[i + 1])
end
count(counts)

return table.concat(news)
