-- What Redis knows of a batch before Postgres stores it, in one step, safe to repeat: a claim is
-- known by its holder's token, so a request that asks again finds its own claims.
--
-- 1. Count the events against their limits; over one of them: answer LIMITED.
-- 2. Claim each id, for a while. The claim comes before the question: a request marks an id
--    before it lets go of the claim, so an id that is neither marked nor claimed is new.
-- 3. Look the ids up in every live set of seen ids. One that was seen needs no claim.
--
-- KEYS  l counters of events in this minute
--       then n claims, one for each id
--       then the sets of seen ids
-- ARGV  1 l, the number of limits
--       2 n, the number of ids
--       3 number of events received, for the limits
--       4 lifetime of a counter (s)
--       5 token of the request
--       6 lifetime of a claim (ms)
--       then l limits, n insert keys
--
-- Answer: "LIMITED", or a letter for each id: "s" seen before, "c" claimed by this request,
-- "b" busy, claimed by another request.

local l, n = tonumber(ARGV[1]), tonumber(ARGV[2])
local received, token = tonumber(ARGV[3]), ARGV[5]
local FIXED_ARGS = 6

for i = 1, l do
    local sum = redis.call('INCRBY', KEYS[i], received)
    redis.call('EXPIRE', KEYS[i], ARGV[4], 'NX')
    if sum > tonumber(ARGV[FIXED_ARGS + i]) then
        return 'LIMITED'
    end
end

if n == 0 then
    return ''
end

local letters = {}
for i = 1, n do
    local claim = KEYS[l + i]
    local is_claimed = redis.call('SET', claim, token, 'NX', 'PX', ARGV[6])
        or redis.call('GET', claim) == token
    letters[i] = is_claimed and 'c' or 'b'
end

local ids = {unpack(ARGV, FIXED_ARGS + l + 1)}
for set = l + n + 1, #KEYS do
    for i, is_member in ipairs(redis.call('SMISMEMBER', KEYS[set], unpack(ids))) do
        if is_member == 1 then
            if letters[i] == 'c' then
                redis.call('DEL', KEYS[l + i])
            end
            letters[i] = 's'
        end
    end
end

return table.concat(letters)
