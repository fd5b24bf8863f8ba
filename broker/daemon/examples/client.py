#!/usr/bin/env python3
"""A producer and a consumer of the irqbroker daemon, with the standard library alone.

Usage: client.py SOCKET. Registers both sides of a link, sends events through it, prints one JSON
object. design/control-protocol.md says what travels.
"""
import array
import json
import os
import select
import socket
import sys

LARGEST, MOST_FDS, EVENTS = 64 * 1024, 253, 10


class Broker:
    """One connection. Requests wait for their response; notices are kept in `notices`."""

    def __init__(self, path, scopes):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.connect(path)
        self.last, self.notices, self.kept = 0, [], []
        hello = {"versions": [1], "client": "client.py", "scopes": scopes}
        self.welcome = self.ask("hello", hello)

    def ask(self, kind, body=None, fds=()):
        self.last += 1
        packet = json.dumps({"id": self.last, "type": kind, "body": body or {}}).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.socket.sendmsg([packet], rights)
        while True:
            answer = self.receive()
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise RuntimeError(answer["error"]["code"] + ": " + answer["error"]["text"])
                return answer["ok"]
            self.notices.append(answer)

    def receive(self):
        room = socket.CMSG_SPACE(MOST_FDS * 4)
        packet, rights, _, _ = self.socket.recvmsg(LARGEST, room)
        if not packet:
            raise ConnectionError("the daemon closed the connection")
        for _, _, data in rights:
            self.kept += array.array("i", data[: len(data) // 4 * 4])
        return json.loads(packet)


def main(path):
    source, sink = os.eventfd(0, os.EFD_NONBLOCK), os.eventfd(0, os.EFD_NONBLOCK)
    device = Broker(path, ["producer"])
    device.ask("register-producer", {"name": "py.device", "link": "py"}, [source])
    driver = Broker(path, ["consumer", "read-only"])
    driver.ask("register-consumer", {"name": "py.driver", "link": "py"}, [sink])
    delivered = 0
    for _ in range(EVENTS):
        os.eventfd_write(source, 1)
        if select.select([sink], [], [], 10)[0]:
            delivered += os.eventfd_read(sink)
    row = next(row for row in driver.ask("links")["links"] if row.get("link") == "py")
    print(json.dumps({"produced": EVENTS, "delivered": delivered, "state": row["state"]}))


if __name__ == "__main__":
    main(sys.argv[1])
