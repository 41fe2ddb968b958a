-- A part of intake.lua and filter.lua. Both have l + r counters behind FIXED_KEYS keys, for each of
-- them three arguments behind FIXED_ARGS (limits.py), and the lifetime of a counter (s) as ARGV[4].

local EVENTS = 2 ^ 22  -- a counter: events + EVENTS * units

local function is_over(limit)
    local counter, first = KEYS[FIXED_KEYS + limit], FIXED_ARGS + 3 * limit - 2
    local sum = redis.call('INCRBY', counter, ARGV[first])
    if sum == tonumber(ARGV[first]) then
        redis.call('EXPIRE', counter, ARGV[4])
    end
    local events = sum % EVENTS
    if events <= tonumber(ARGV[first + 1])
            and (sum - events) / EVENTS <= tonumber(ARGV[first + 2]) then
        return false
    end
    redis.call('DECRBY', counter, ARGV[first])
    return true
end
