"""A web server on the loopback interface."""

import contextlib
import functools
import http.server
import threading


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        self.server.requested.append(self.path)
        if not self.path.startswith("/short"):
            return super().do_GET()
        # Announces more bytes than it sends.
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"only this")


@contextlib.contextmanager
def serve(folder, requested=None):
    """Serves the files of a folder; gives the address.

    The path of each request is appended to the list `requested`.
    """
    handler = functools.partial(_Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requested = [] if requested is None else requested
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
