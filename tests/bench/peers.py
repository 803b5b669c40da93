#!/usr/bin/env python3
"""What a request and its judgement cost by other clients: for tests/bench/price.py, which runs this as a child.

    tests/bench/peers.py pycurl --targets FILE --requests 20000

A line of the file is an address with its port. Each request has a connection of its own; the status has to be 200 and
the body to contain a text. Prints {"requests": …, "cpu": …}: seconds of CPU, user and system, from the first request
to the last, without the start of the interpreter and its libraries. Each client is used as its makers advise.
"""

import argparse
import asyncio
import concurrent.futures
import http.client
import io
import json
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

import blackbox
import first_light
from fleet import cpu_seconds

TEXT = b"all is well"
TIMEOUT = 10
# Requests at the same time, where one thread has them all.
CONCURRENCY = 64
# Threads that wait for the interpreter's lock cost more, the more they are.
THREADS = 16
# Asked of the exporter before its CPU is taken, so that it has its connections and its heap.
FIRST = 200
MODULE = {
    "prober": "http",
    "timeout": f"{TIMEOUT}s",
    "http": {
        "preferred_ip_protocol": "ip4",
        "valid_status_codes": [200],
        "fail_if_body_not_matches_regexp": [TEXT.decode()],
    },
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("--targets", type=Path, required=True, help="a file with an address and port a line")
    parser.add_argument("--requests", type=int, required=True, help="how many")
    options = parser.parse_args()
    first_light.raise_file_limit()
    urls = [f"http://{line}/" for line in options.targets.read_text().split()]
    urls = [urls[number % len(urls)] for number in range(options.requests)]
    requests, cpu = CLIENTS[options.client](urls)
    print(json.dumps({"requests": requests, "cpu": cpu}))


def judge(url, status, body):
    if status != 200 or TEXT not in body:
        raise RuntimeError(f"{url}: status {status}, {len(body)} bytes: {body[:100]}")


def by_pycurl(urls):
    """CurlMulti in two processes: one a core, as for us."""
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        return len(urls), sum(pool.map(in_a_process_by_pycurl, [urls[::2], urls[1::2]]))


def in_a_process_by_pycurl(urls):
    import pycurl

    multi, left = pycurl.CurlMulti(), iter(urls)

    def begin(curl):
        """Gives a handle its next URL, as long as there is one."""
        if url := next(left, None):
            curl.url, curl.body = url, io.BytesIO()
            curl.setopt(pycurl.URL, url)
            curl.setopt(pycurl.WRITEDATA, curl.body)
            multi.add_handle(curl)
        return bool(url)

    before = time.process_time()
    handles = [pycurl.Curl() for _ in range(CONCURRENCY // 2)]
    for curl in handles:
        for option, value in (
            (pycurl.FRESH_CONNECT, 1), (pycurl.FORBID_REUSE, 1), (pycurl.NOSIGNAL, 1), (pycurl.TIMEOUT, TIMEOUT),
        ):
            curl.setopt(option, value)
    running = sum(map(begin, handles))
    while running:
        while multi.perform()[0] == pycurl.E_CALL_MULTI_PERFORM:
            pass
        waiting = True
        while waiting:
            waiting, done, failed = multi.info_read()
            for curl, code, message in failed:
                raise RuntimeError(f"{curl.url}: {code} {message}")
            for curl in done:
                judge(curl.url, curl.getinfo(pycurl.RESPONSE_CODE), curl.body.getvalue())
                multi.remove_handle(curl)
                running += begin(curl) - 1
        if running:
            multi.select(1.0)
    return time.process_time() - before


def by_aiohttp(urls):
    """One session with uvloop; a connection is closed with its response."""
    import aiohttp
    import uvloop

    async def all_of_them():
        left = iter(urls)
        connector = aiohttp.TCPConnector(force_close=True, limit=CONCURRENCY)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

            async def one_by_one():
                for url in left:
                    async with session.get(url) as response:
                        judge(url, response.status, await response.read())

            await asyncio.gather(*(one_by_one() for _ in range(CONCURRENCY)))

    before = time.process_time()
    uvloop.run(all_of_them())
    return len(urls), time.process_time() - before


def by_requests(urls):
    """Its plain function in a pool of threads, without a session."""
    import requests

    def ask(url):
        response = requests.get(url, timeout=TIMEOUT)
        judge(url, response.status_code, response.content)

    before = time.process_time()
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(ask, urls):
            pass
    return len(urls), time.process_time() - before


def by_blackbox(urls):
    """The exporter alone: who asks it is not counted. It is asked over kept connections, its answers not packed."""
    with tempfile.TemporaryDirectory(prefix="probity-exporter-") as name:
        config, log = Path(name) / "blackbox.yml", Path(name) / "log"
        # JSON is YAML.
        config.write_text(json.dumps({"modules": {"price": MODULE}}))
        process = blackbox.start(first_light.find_tool(blackbox.EXPORTER), config, log)
        try:
            address = urllib.parse.urlsplit(blackbox.listening(process, log)).netloc
            mine = threading.local()

            def ask(url):
                if not hasattr(mine, "connection"):
                    mine.connection = http.client.HTTPConnection(address, timeout=3 * TIMEOUT)
                query = urllib.parse.urlencode({"module": "price", "target": url})
                mine.connection.request("GET", f"/probe?{query}")
                answer = mine.connection.getresponse().read()
                if b"\nprobe_success 1\n" not in answer:
                    raise RuntimeError(f"{url}: {answer.decode()}")

            with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(ask, urls[:FIRST]))
                before = cpu_seconds(process.pid)
                list(pool.map(ask, urls[FIRST:]))
                return len(urls[FIRST:]), cpu_seconds(process.pid) - before
        finally:
            process.kill()
            process.wait()


CLIENTS = {"pycurl": by_pycurl, "aiohttp": by_aiohttp, "requests": by_requests, "blackbox": by_blackbox}

if __name__ == "__main__":
    sys.exit(main())
