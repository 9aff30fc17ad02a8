"""First on PYTHONPATH: Python asks no other machine for anything, and what it was about to ask is noted.

An audit hook sees every name that is looked up and every address that is connected or sent to, whatever library asks,
and no library can take it away again.
"""

import os
import socket
import sys
import traceback
from pathlib import Path

LOCAL = {"", "localhost", "127.0.0.1", "0.0.0.0", "::1", "::", socket.gethostname()}
LOOKED_UP = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
SENT_TO = {"socket.connect", "socket.sendto", "socket.sendmsg"}


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event not in LOOKED_UP | SENT_TO:
        return
    place = arguments[0 if event in LOOKED_UP else 1]
    if event in SENT_TO:
        if not isinstance(place, tuple):  # a socket of this machine's file system, or one that is connected
            return
        place = place[0]
    host = place.decode() if isinstance(place, bytes) else str(place or "")
    if host in LOCAL or host.startswith("127."):
        return
    with Path(os.environ["ASKED"]).open("a", encoding="utf-8") as asked:
        stack = "".join(traceback.format_stack(limit=12)[:-1])
        asked.write(f"{' '.join(sys.argv)[:300]}: {event} {host}\n{stack}\n")
    raise OSError(f"no network here: {event} {host}")


sys.addaudithook(_refuse)
