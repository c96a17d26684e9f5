"""A role of the least kind: ready at once, stops on SIGTERM. `CRASH` makes it exit instead."""

import http.server
import os
import signal
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"role": "x", "ready": true, "lag": 3}')


def main(role: str) -> None:
    if os.environ.get("CRASH") == role:
        print("cannot start", flush=True)
        sys.exit(1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    port = int(os.environ[f"HUBBUB_{role.upper()}_PORT"])
    http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1])
