"""An SMTP server that stores every accepted message.

    smtp_catcher.py PORT MAIL_DIR CONTROL [ADDRESS]

It listens on 127.0.0.1 and, if given, on ADDRESS. Each accepted message becomes an .eml file in MAIL_DIR. The server moves
it there when it is complete, so that a reader never sees a partial file. For every message the server reads an order
from the file CONTROL. Without the file it accepts every message:

    rcpt CODE [TIMES]    refuse the recipient with CODE (421, 450, 550 …)
    data CODE [TIMES]    refuse the message with CODE after the final dot
    drop [TIMES]         close the connection at the final dot and discard the message
    accept-drop [TIMES]  store the message, then close the connection without an answer
    silent [TIMES]       store the message, then never answer

After TIMES messages the server deletes the file and accepts everything again.
"""

import asyncio
import itertools
import os
import signal
import sys
import time

from aiosmtpd.smtp import SMTP

PORT, MAIL_DIR, CONTROL = int(sys.argv[1]), sys.argv[2], sys.argv[3]
ADDRESSES = ["127.0.0.1", *sys.argv[4:]]
OUTSIDE = MAIL_DIR + ".new"
COUNTER = itertools.count()


def order():
    """Returns the order in CONTROL as (word, code)."""
    try:
        with open(CONTROL) as file:
            words = file.read().split()
    except FileNotFoundError:
        return ("accept", None)
    return (words[0], int(words[1]) if words[0] in ("rcpt", "data") else None) if words else ("accept", None)


def obeyed():
    """Decrements the order's counter and deletes the file at zero."""
    try:
        with open(CONTROL) as file:
            words = file.read().split()
    except FileNotFoundError:
        return
    fixed = 2 if words[0] in ("rcpt", "data") else 1
    if len(words) <= fixed:
        return
    left = int(words[fixed]) - 1
    if left <= 0:
        os.remove(CONTROL)
        return
    with open(CONTROL + ".new", "w") as file:
        file.write(" ".join(words[:fixed] + [str(left)]))
    os.rename(CONTROL + ".new", CONTROL)


def keep(envelope):
    name = f"{time.time_ns():020}-{os.getpid()}-{next(COUNTER)}.eml"
    with open(os.path.join(OUTSIDE, name), "wb") as file:
        file.write(envelope.original_content)
    os.rename(os.path.join(OUTSIDE, name), os.path.join(MAIL_DIR, name))


class Catcher:
    async def handle_RCPT(self, server, session, envelope, address, options):
        word, code = order()
        if word == "rcpt":
            obeyed()
            return f"{code} not now" if code < 500 else f"{code} no such recipient"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        word, code = order()
        if word == "data":
            obeyed()
            return f"{code} not now" if code < 500 else f"{code} not this message"
        if word == "drop":
            obeyed()
            server.transport.abort()
            return "451 unreachable"
        keep(envelope)
        if word == "accept-drop":
            obeyed()
            server.transport.abort()
        elif word == "silent":
            obeyed()
            await asyncio.sleep(3600)
        return "250 OK"


async def main():
    os.makedirs(MAIL_DIR, exist_ok=True)
    os.makedirs(OUTSIDE, exist_ok=True)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await loop.create_server(
        lambda: SMTP(Catcher(), enable_SMTPUTF8=True, hostname="localhost", loop=loop), ADDRESSES, PORT
    )
    await stop.wait()


asyncio.run(main())
