#!lua flags=allow-oom
-- What Redis knows of a batch before Postgres stores it, in one step, safe to repeat: a claim is
-- known by its holder's token, so a request that asks again finds its own claims.
--
-- It runs on a Redis that is full as well, or nothing would be limited there: what it writes is
-- small and expires.
--
-- 1. Count events and bytes against their limits; over one of them: answer LIMITED. Rejected events
--    have limits of their own: over one of those the valid events go on without them.
-- 2. Claim each id, for a while. The claim comes before the question: a request marks an id
--    before it lets go of the claim, so an id that is neither marked nor claimed is new.
-- 3. Look the ids up in every live set of seen ids. One that was seen needs no claim.
--
-- KEYS  l counters of this minute for what is valid, r for what is rejected
--       then n claims, one for each id
--       then the sets of seen ids
-- ARGV  1 l and
--       2 r, the numbers of limits
--       3 n, the number of ids
--       4 lifetime of a counter (s)
--       5 token of the request
--       6 lifetime of a claim (ms)
--       then for each limit what to add and the most (limits.py), n insert keys
--
-- Answer: "LIMITED", or "+" for rejected events that are kept, "-" for others, and a letter for each
-- id: "s" seen before, "c" claimed by this request, "b" busy, claimed by another request.

local l, r, n = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local token, keeps = ARGV[5], '+'
local FIXED_KEYS, FIXED_ARGS = 0, 6

-- (limits.lua stands here)

for limit = 1, l + r do
    if is_over(limit) then
        if limit <= l or n == 0 then
            return 'LIMITED'
        end
        keeps = '-'
    end
end

if n == 0 then
    return keeps
end

local letters = {}
for i = 1, n do
    local claim = KEYS[l + r + i]
    local is_claimed = redis.call('SET', claim, token, 'NX', 'PX', ARGV[6])
        or redis.call('GET', claim) == token
    letters[i] = is_claimed and 'c' or 'b'
end

local ids = {unpack(ARGV, FIXED_ARGS + 3 * (l + r) + 1)}
for set = l + r + n + 1, #KEYS do
    for i, is_member in ipairs(redis.call('SMISMEMBER', KEYS[set], unpack(ids))) do
        if is_member == 1 then
            if letters[i] == 'c' then
                redis.call('DEL', KEYS[l + r + i])
            end
            letters[i] = 's'
        end
    end
end

return keeps .. table.concat(letters)
