-- Signed batches of the documented shape for wrk. What it sends is in the environment:
--   BENCH_PATHS     file with one signed path and query a line, one line a shop, used in turn
--   BENCH_EVENTS    events to a batch
--   BENCH_REPEATS   per cent of events that were sent before
--   BENCH_SECONDS   how long to send; wrk itself runs longer, so that nothing is under way at its end
--   BENCH_PAUSE     mean pause of a connection between a reply and its next request (ms)
--   BENCH_SEED      of the ids
-- At the end one line of JSON.

local events = tonumber(os.getenv("BENCH_EVENTS"))
local repeats = tonumber(os.getenv("BENCH_REPEATS"))
local seconds = tonumber(os.getenv("BENCH_SECONDS"))
local pause = tonumber(os.getenv("BENCH_PAUSE"))

local CONTEXT = [["context":{"$current_url":"https://yourstore.com/products/linen-summer-dress?variant=40123456789","$pathname":"/products/linen-summer-dress","$host":"yourstore.com","$referrer":"https://www.google.com/","$referring_domain":"www.google.com","$raw_user_agent":"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1","$browser_language":"en-GB","$timezone":"Europe/London","$screen_width":390,"$screen_height":844,"$viewport_width":390,"$viewport_height":664,"$session_id":"%s","$pageview_id":"%s","genlook_client_id":"%s","genlook_product_id":"gid://shopify/Product/456","genlook_variant_id":"gid://shopify/ProductVariant/40123456789","genlook_lib_version":"2.4.1","genlook_widget_enabled":true}}]]
local EVENT = [[{"event":"%s","properties":{"product_id":"gid://shopify/Product/456"},"timestamp":"%s.%03dZ","$insert_id":"%s"}]]
local NAMES = {
  "product_page:page_view", "widget:button_click", "widget:image_upload", "widget:generation_start",
  "widget:result_view", "widget:add_to_cart_clicked", "widget:add_to_cart_success",
}

local random, format = math.random, string.format
local function uuid()
  return format("%08x-%04x-4%03x-a%03x-%06x%06x", random(0, 0xffffffff), random(0, 0xffff),
    random(0, 0xfff), random(0, 0xfff), random(0, 0xffffff), random(0, 0xffffff))
end

local threads = {}
function setup(thread)
  threads[#threads + 1] = thread
  thread:set("number", #threads)
end

local paths, turn, is_probed, deadline, last_id = {}, 0, false, nil, nil
function init()
  math.randomseed(tonumber(os.getenv("BENCH_SEED")) + number)
  for path in io.lines(os.getenv("BENCH_PATHS")) do
    paths[#paths + 1] = path
  end
  fresh, batches = 0, 0
end

function request()
  deadline = deadline or os.time() + seconds
  local time, parts = os.date("!%Y-%m-%dT%H:%M:%S"), {}
  for i = 1, events do
    local id
    if last_id and random(100) <= repeats then
      id = last_id
    else
      id, fresh = uuid(), fresh + 1
    end
    parts[i] = format(EVENT, NAMES[(batches + i) % #NAMES + 1], time, random(0, 999), id)
    -- Of the same shop, or it would not be a repeat.
    if #paths == 1 then last_id = id end
  end
  batches = batches + 1
  turn = turn % #paths + 1
  if not is_probed then  -- wrk makes one request to look at it and throws it away
    is_probed, fresh, batches, last_id, deadline = true, 0, 0, nil, nil
  end
  local body = '{"events":[' .. table.concat(parts, ",") .. "],"
    .. format(CONTEXT, uuid(), uuid(), uuid()) 
  return wrk.format("POST", paths[turn], {["Content-Type"] = "application/json"}, body)
end

function delay()
  if deadline and os.time() >= deadline then
    return 60 * 60 * 1000
  end
  return pause > 0 and math.floor(-pause * math.log(1 - random()) + 0.5) or 0
end

function done(summary, latency)
  local fresh, batches = 0, 0
  for _, thread in ipairs(threads) do
    fresh, batches = fresh + thread:get("fresh"), batches + thread:get("batches")
  end
  local errors = summary.errors
  print(format('{"batches":%d,"answered":%d,"ids":%d,"errors":%d,"p50":%.3f,"p99":%.3f,"longest":%.3f}',
    batches, summary.requests, fresh,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000, latency.max / 1000))
end
