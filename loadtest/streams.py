"""Streams under way, and a scraper beside them.

    streams.py PROXY_PORT STATUS_PORT COUNT BODY BEGUN RESULT

Asks for COUNT streams at once, makes the file BEGUN when all have begun, and reads each to its end. Scrapes
/metrics ten times a second meanwhile and until SIGTERM: no counter may ever fall. RESULT gets what was seen.
"""

import asyncio
import json
import re
import signal
import sys

proxy, status, count = map(int, sys.argv[1:4])
body, begun_file, result_file = open(sys.argv[4], "rb").read(), sys.argv[5], sys.argv[6]
seen = {"streams": count, "whole": 0, "broken": [], "scrapes": 0, "failed_scrapes": [], "falls": []}
begun = 0


async def stream():
    global begun
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy, limit=1 << 20)
    writer.write(b"POST /chat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                 % (len(body), body))
    answer = await reader.readuntil(b"data:")
    begun += 1
    if begun == count:
        open(begun_file, "w").close()
    # The last chunk, or the end of the connection.
    while not answer.endswith(b"\r\n0\r\n\r\n") and (more := await reader.read(65536)):
        answer += more
    whole = answer.startswith(b"HTTP/1.1 200") and b"data: [DONE]\n\n" in answer and answer.endswith(b"0\r\n\r\n")
    seen["whole"] += whole
    if not whole:
        seen["broken"].append(answer[-200:].decode(errors="replace"))
    writer.close()


async def one_stream():
    try:
        await stream()
    except Exception as error:
        seen["broken"].append(repr(error))


async def scrape():
    reader, writer = await asyncio.open_connection("127.0.0.1", status)
    writer.write(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    if not answer.startswith("HTTP/1.1 200"):
        raise ConnectionError(answer[:100])
    return answer


def counters(text):
    """The samples of all counters and histograms that are not of one process only."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    for line in text.splitlines():
        if line.startswith("#") or " " not in line:
            continue
        series, value = line.rsplit(" ", 1)
        name = series.split("{")[0]
        kind = kinds.get(name) or kinds.get(re.sub(r"_(bucket|sum|count)$", "", name))
        if kind in ("counter", "histogram") and not name.endswith("_info"):
            yield series, float(value)


async def watch(over):
    last = {}
    while not over.is_set():
        try:
            now = dict(counters(await scrape()))
            seen["falls"] += [f"{series}: {value} -> {now.get(series)}" for series, value in last.items()
                              if now.get(series, -1) < value]
            last = now
            seen["scrapes"] += 1
        except Exception as error:
            seen["failed_scrapes"].append(repr(error))
        await asyncio.sleep(0.1)


async def main():
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await asyncio.gather(watch(over), *(one_stream() for _ in range(count)))
    with open(result_file, "w") as out:
        json.dump(seen, out)


asyncio.run(main())
