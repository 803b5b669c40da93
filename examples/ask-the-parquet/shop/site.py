"""A small shop in three regions to be probed, with a bad quarter of an hour: python site.py [PORT]

It gets slower and faster, asia is far away, one service stops now and then, and the stock list is not always fresh.
Everything stands on 127.0.0.1.
"""

import json
import math
import random
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BEGIN = time.monotonic()
# Seconds of a response at its best, by the first part of the path.
REGIONS = {"eu": 0.02, "us": 0.05, "asia": 0.11}


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        region, _, service = self.path.strip("/").partition("/")
        minute = (time.monotonic() - BEGIN) / 60
        # Busy in waves of five minutes.
        busy = 1 + 0.4 * math.sin(minute / 5 * math.tau)
        time.sleep(REGIONS.get(region, 0.02) * busy * random.lognormvariate(0, 0.25))
        if service == "search" and region == "us" and 4 <= minute < 6.5:
            self.answer(503, b"<h1>Too busy</h1>")
        elif service == "pay" and minute % 3 < 0.4:
            self.answer(500, b"<h1>Payment provider does not answer</h1>")
        elif service == "stock":
            # The list is written anew every 90 seconds, but for a while.
            stale = 5 <= minute < 8
            age = (minute - 5) * 60 + 90 if stale else minute * 60 % 90
            self.answer(200, json.dumps({"age_seconds": round(age, 1), "items": 1_200}).encode())
        else:
            self.answer(200, b"<h1>Welcome</h1>" * 2_000, pause=0.004 * busy)

    def answer(self, status, body, pause=0.0):
        """The body comes in two halves, with a pause between."""
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        half = len(body) // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        time.sleep(pause)
        self.wfile.write(body[half:])

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8000), Shop).serve_forever()
