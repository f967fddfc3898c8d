"""Answers every datagram, read by each kind of call in turn: python datagrams.py PORT"""

import socket
import sys

sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", int(sys.argv[1])))
turn = 0
while True:
    if turn % 2:
        _, _, _, address = sock.recvmsg(2048)
    else:
        _, address = sock.recvfrom(2048)
    turn += 1
    sock.sendto(b"seen", address)
