-- Takes one batch over, in one step, safe to repeat.
--
-- 1. The stream is at its cap: answer FULL before anything is written. The stream is never
--    trimmed, trimming drops entries that nobody has stored.
-- 2. Look the ids up in every live set of seen ids.
-- 3. Append the new events as one entry, and only then mark them as seen. A failure between the
--    two can cost a duplicate, which Postgres refuses, and never an event.
-- 4. Count the outcomes in the same step.
--
-- KEYS  1 the stream
--       2 the counts of the day
--       3 … the sets of seen ids, the current bucket first
-- ARGV  1 cap of the stream (entries)
--       2 lifetime of a set of seen ids (s)
--       3 lifetime of the counts (s)
--       4 n, the number of events
--       5 m, the number of counts
--       6, 7, 8, 9  version, shop, batch line and rejected events of the entry
--       then n insert keys, n event lines, m pairs of an outcome's name and its number
--
-- Answer: "FULL", or a text of n digits, 1 for each event that is new, 0 for one seen before.

local n, m = tonumber(ARGV[4]), tonumber(ARGV[5])

if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then
    return 'FULL'
end

local news, keys, lines = {}, {}, {}
if n > 0 then
    local ids = {}
    for i = 1, n do
        ids[i] = ARGV[9 + i]
        news[i] = '1'
    end
    for bucket = 3, #KEYS do
        for i, seen in ipairs(redis.call('SMISMEMBER', KEYS[bucket], unpack(ids))) do
            if seen == 1 then
                news[i] = '0'
            end
        end
    end
    for i = 1, n do
        if news[i] == '1' then
            keys[#keys + 1] = ids[i]
            lines[#lines + 1] = ARGV[9 + n + i]
        end
    end
end

if #keys > 0 or ARGV[9] ~= '' then
    local batch = #keys > 0 and ARGV[8] or ''
    redis.call('XADD', KEYS[1], '*', 'v', ARGV[6], 'shop', ARGV[7], 'batch', batch,
        'events', table.concat(lines, '\n'), 'rejected', ARGV[9])
end
if #keys > 0 then
    redis.call('SADD', KEYS[3], unpack(keys))
    redis.call('EXPIRE', KEYS[3], ARGV[2], 'NX')
end

local counts = {accepted = #keys, duplicate = n - #keys}
for i = 10 + 2 * n, 9 + 2 * n + 2 * m, 2 do
    counts[ARGV[i]] = (counts[ARGV[i]] or 0) + tonumber(ARGV[i + 1])
end
for name, number in pairs(counts) do
    if number > 0 then
        redis.call('HINCRBY', KEYS[2], name, number)
    end
end
redis.call('EXPIRE', KEYS[2], ARGV[3], 'NX')

return table.concat(news)
