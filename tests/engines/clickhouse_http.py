"""ClickHouse's HTTP interface in front of chdb, in a process of its own: it prints its port and serves until killed.

Not a ClickHouse server: the part of the interface that clickhouse-connect uses, so that its requests, their
parameters and their errors travel as they would to one, and the engine that answers is ClickHouse's.
"""

import base64
import re
import sys
import tempfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qsl, urlsplit

USER = base64.b64encode(b"reader:se/cret").decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    session = None

    def _body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _say(self, status, content, code=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if code:
            self.send_header("X-ClickHouse-Exception-Code", code)
        self.end_headers()
        self.wfile.write(content)

    def do_POST(self):
        options, body = dict(parse_qsl(urlsplit(self.path).query)), self._body()
        if self.headers.get("Authorization") != f"Basic {USER}":
            self._say(403, b"Code: 516. DB::Exception: reader: Authentication failed. (AUTHENTICATION_FAILED)", "516")
            return
        given = {name[6:]: value for name, value in options.items() if name.startswith("param_")}
        try:
            self._say(200, self._answer(options.get("query"), body, given))
        except Exception as error:
            code = re.search(r"Code: (\d+)", str(error))
            self._say(400, str(error).encode(), code[1] if code else "1")

    do_GET = do_POST

    def _answer(self, query, body, given):
        if query and body:  # an insert: its rows are the body
            assert not self.headers.get("Content-Encoding"), "the tests send nothing compressed"
            head, _, form = query.rpartition("FORMAT ")
            with tempfile.NamedTemporaryFile() as file:
                file.write(body)
                file.flush()
                return self.session.query(f"{head} FROM INFILE '{file.name}' FORMAT {form}").bytes()
        return self.session.query(query or body.decode(), "TabSeparated", params=given).bytes()

    def log_message(self, format, *arguments):
        pass


def serve(folder):
    import chdb.session

    Handler.session = chdb.session.Session(folder)
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1])
