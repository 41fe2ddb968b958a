"""What a browser's User-Agent says about the device, in three words."""

import re
from functools import lru_cache

# What programs call themselves: at the end of a word ("Googlebot", "PetalBot/1.0"), or anywhere.
# Phones are called CUBOT, and "M BOT 60": that bot stands alone.
_BOT = re.compile(
    r"(?<!\bcu)(?<=[a-z0-9_-])bot\b|\bbot(?=[/;,)]|$)|crawl|spider|slurp|headless|lighthouse"
    r"|facebookexternalhit|facebookcatalog|meta-external|googleother|google-inspectiontool"
    r"|google-read-aloud|google favicon|mediapartners-google|adsbot|apis-google|storebot"
    r"|bingpreview|\bptst/|\by!j\b|ia_archiver|phantomjs|puppeteer|playwright|selenium"
    r"|pagespeed|gtmetrix|pingdom|uptime|wget|\bcurl/|python-requests|\bscrapy",
    re.ASCII,
)
# The first name that is found counts: most browsers also name those they descend from.
_BROWSERS = (
    ("edg/", "Edge"),
    ("edga/", "Edge"),
    ("edgios/", "Edge"),
    ("edge/", "Edge"),
    ("opr/", "Opera"),
    ("opera", "Opera"),
    ("opios/", "Opera"),
    ("samsungbrowser/", "Samsung Internet"),
    ("yabrowser/", "Yandex"),
    ("ucbrowser/", "UC Browser"),
    ("instagram", "Instagram"),
    ("fban/", "Facebook"),
    ("fbav/", "Facebook"),
    ("musical_ly", "TikTok"),
    ("bytedance", "TikTok"),
    ("pinterest", "Pinterest"),
    ("gsa/", "Google App"),
    ("firefox/", "Firefox"),
    ("fxios/", "Firefox"),
    ("crios/", "Chrome"),
    ("chrome/", "Chrome"),
    ("safari/", "Safari"),
    ("applewebkit/", "Safari"),
    ("trident/", "Internet Explorer"),
    ("msie ", "Internet Explorer"),
)
_SYSTEMS = (
    ("windows", "Windows"),
    ("iphone", "iOS"),
    ("ipad", "iOS"),
    ("ipod", "iOS"),
    ("android", "Android"),
    ("cros ", "ChromeOS"),
    ("mac os x", "macOS"),
    ("macintosh", "macOS"),
    ("linux", "Linux"),
)
_LONGEST = 1_000  # characters; what follows says nothing, and would fill the cache


def device(user_agent: str) -> dict[str, str]:
    """`device_class` (mobile, tablet, desktop, bot), `browser` and `os`; unknown ones are left out.

    A shop's visitors share few user agents, so most calls are answered by the cache.
    """
    return _device(user_agent[:_LONGEST])


@lru_cache(maxsize=2_048)
def _device(user_agent: str) -> dict[str, str]:
    text = user_agent.lower()
    found = {
        "device_class": _class(text),
        "browser": _first(_BROWSERS, text),
        "os": _first(_SYSTEMS, text),
    }
    return {column: word for column, word in found.items() if word}


def _class(text: str) -> str:
    if _BOT.search(text):
        return "bot"
    if "ipad" in text or "tablet" in text or ("android" in text and "mobile" not in text):
        return "tablet"
    if "mobi" in text or "iphone" in text or "ipod" in text:
        return "mobile"
    return "desktop" if _first(_SYSTEMS, text) else ""


def _first(names: tuple[tuple[str, str], ...], text: str) -> str:
    return next((word for name, word in names if name in text), "")
