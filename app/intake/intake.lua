-- Takes one batch over, in one step, safe to repeat.
--
-- 1. The stream is at one of its caps: answer FULL before anything is written. The stream is never
--    trimmed, trimming drops entries that nobody has stored.
-- 2. Count events and bytes against their limits; over one of them: answer LIMITED. Rejected events
--    have limits of their own: over one of those the valid events go on without them.
-- 3. Look the ids up in every live set of seen ids.
-- 4. Append the new events as one entry, and only then mark them as seen. A failure between the
--    two can cost a duplicate, which Postgres refuses, and never an event.
-- 5. Count the outcomes in the same step.
--
-- KEYS  1 the stream
--       2 the counts of the day
--       3 the all-time counts
--       4 the size of the stream
--       then l counters of this minute for what is valid, r for what is rejected
--       then the sets of seen ids, the current bucket first
-- ARGV  1 cap of the stream (entries)
--       2 lifetime of a set of seen ids (s)
--       3 lifetime of the counts of the day (s)
--       4 lifetime of a counter (s)
--       5 number of events received
--       6 l and
--       7 r, the numbers of limits
--       8 n, the number of events
--       9 cap of the stream (bytes)
--       10 size from which on an entry is large (bytes)
--       11 most ids in a set of seen ids
--       12 to 16  the entry: version, shop, batch line, the n event lines joined by newlines, and
--          the rejected events
--       17 what the reports need of them (app/batch/news.py), which tells the reader of how many events
--       18 the request's trace, empty where it is not traced
--       then for each limit what to add and the most (limits.py), n insert keys, pairs of an
--       outcome's name and its number
--
-- Answer: "FULL", "LIMITED", or the number of events that were seen before.

local l, r, n = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local batch_line, lines, rejected = ARGV[14], ARGV[15], ARGV[16]
local announced, trace = ARGV[17], ARGV[18]
local FIXED_KEYS, FIXED_ARGS = 4, 18
local SIZES = 2 ^ 40  -- the size of the stream: bytes + SIZES * large entries
local LARGEST = 4 * 1024 * 1024  -- bytes, of an entry

local waiting = redis.call('XLEN', KEYS[1])
-- Few entries cannot be too many bytes.
if waiting >= tonumber(ARGV[1]) or waiting * LARGEST >= tonumber(ARGV[9])
        and tonumber(redis.call('GET', KEYS[4]) or 0) % SIZES >= tonumber(ARGV[9]) then
    return 'FULL'
end

local function count(name, number)
    redis.call('HINCRBY', KEYS[3], name, number)
    if redis.call('HINCRBY', KEYS[2], name, number) == tonumber(number) then
        redis.call('EXPIRE', KEYS[2], ARGV[3], 'NX')
    end
end

-- (limits.lua stands here)

for limit = 1, l + r do
    if is_over(limit) then
        if limit <= l or n == 0 then
            count('rate_limited', ARGV[5])
            return 'LIMITED'
        end
        rejected = ''
    end
end

local first_id = FIXED_ARGS + 3 * (l + r) + 1
local news, repeats = {}, 0
if n > 0 then
    news = {unpack(ARGV, first_id, first_id + n - 1)}
    local ids, seen = {unpack(news)}, {}
    for set = FIXED_KEYS + l + r + 1, #KEYS do
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

if #news > 0 or rejected ~= '' then
    local batch = #news > 0 and batch_line or ''
    local entry = {'v', ARGV[12], 'shop', ARGV[13], 'batch', batch,
        'events', lines, 'rejected', rejected, 'news', announced}
    if trace ~= '' then
        entry[#entry + 1], entry[#entry + 2] = 'trace', trace
    end
    redis.call('XADD', KEYS[1], '*', unpack(entry))
    local size = #ARGV[12] + #ARGV[13] + #batch + #lines + #rejected + #announced + #trace
    if size >= tonumber(ARGV[10]) then
        size = size + SIZES
    end
    -- Anew where the stream was empty: a previous release takes entries out without counting.
    redis.call(waiting == 0 and 'SET' or 'INCRBY', KEYS[4], string.format('%.0f', size))
end
if #news > 0 then
    local current = KEYS[FIXED_KEYS + l + r + 1]
    local marked = redis.call('SCARD', current)
    if marked >= tonumber(ARGV[11]) then  -- the oldest go
        redis.call('UNLINK', KEYS[FIXED_KEYS + l + r + 2])
        redis.call('RENAME', current, KEYS[FIXED_KEYS + l + r + 2])
        marked = 0
    end
    redis.call('SADD', current, unpack(news))
    if marked == 0 then
        redis.call('EXPIRE', current, ARGV[2])
    end
    count('accepted', #news)
end
if repeats > 0 then
    count('duplicate', repeats)
end
for i = first_id + n, #ARGV, 2 do
    count(ARGV[i], ARGV[i + 1])
end

return repeats
