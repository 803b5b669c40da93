"""A site that is late by known amounts, in each phase of a request, and in a network of its own.

The network is a name space with loopback and one more interface, `late`: what is sent to it comes back to this
program, which turns it round to a server on the same machine. There a connection can be late, which it cannot be on
loopback: the kernel answers for a listening server at once. Names are answered by this program too; it is the name
server of /etc/resolv.conf in here.
"""

import collections
import fcntl
import heapq
import itertools
import os
import select
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

DOMAIN = "timings.test"
LOOPBACK = "127.0.0.1"
# To the client, its own address and the server's; to the server, its own address and the client's. Both pairs have
# the same sum, so that turning a packet round leaves its checksums right.
CLIENT, SERVER, SERVER_INSIDE, CLIENT_INSIDE = (
    socket.inet_aton(address) for address in ("10.9.0.1", "10.9.1.4", "10.9.0.3", "10.9.1.2")
)
RELAYED = {SERVER_INSIDE, CLIENT_INSIDE}
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
SYN_ACK = 0x12
BODY = b"all is well here, thank you for asking\n" * 500
INSIDE = "PROBITY_TIMINGS_INSIDE"


def enter():
    """Goes on in a network of its own, with a resolver of its own; as root of it, whoever starts it."""
    if not os.environ.get(INSIDE):
        command = ["unshare", "--user", "--map-root-user", "--net", "--mount", sys.executable, *sys.argv]
        path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
        os.execvpe(command[0], command, os.environ | {INSIDE: "1", "PATH": path})


def set_up_network(folder):
    resolver = folder / "resolv.conf"
    resolver.write_text("nameserver 127.0.0.1\n")
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"late", IFF_TUN | IFF_NO_PI))
    for command in (
        f"mount --bind {resolver} {Path('/etc/resolv.conf').resolve()}",
        "ip link set lo up",
        f"ip address add {socket.inet_ntoa(CLIENT)}/16 dev late",
        f"ip address add {socket.inet_ntoa(SERVER_INSIDE)}/16 dev late",
        "ip link set late up",
    ):
        subprocess.run(command.split(), check=True)
    return tun


class Case:
    """One way to be late: a listening socket of its own."""

    def __init__(self, name, delays, tls=None, named=False):
        """`delays` are milliseconds by phase; `tls` is the version spoken, if any."""
        self.name, self.tls, self.named = name, tls, named
        self.delays = {phase: ms / 1000 for phase, ms in delays.items()}
        self.relayed = "connect" in delays
        self.socket = socket.socket()
        self.socket.bind((socket.inet_ntoa(SERVER_INSIDE) if self.relayed else LOOPBACK, 0))
        self.socket.listen(256)
        self.port = self.socket.getsockname()[1]

    def address(self):
        return socket.inet_ntoa(SERVER) if self.relayed else LOOPBACK

    def host(self, who, number):
        """A name that nobody asked for before, or the address."""
        return f"{who}-{number}.{self.name}.{DOMAIN}" if self.named else self.address()

    def url(self, who, number):
        scheme = "https" if self.tls else "http"
        return f"{scheme}://{self.host(who, number)}:{self.port}/{who}/{self.name}/{number}"

    def late(self, phase):
        if self.delays.get(phase):
            time.sleep(self.delays[phase])


class Site:
    """The servers of all cases, their name server and the relay."""

    def __init__(self, folder, tun, cases):
        self.tun, self.cases = tun, {case.name: case for case in cases}
        self.by_port = {case.port: case for case in cases}
        self.certificate = make_certificate(folder)
        # (client port, server port) to what was asked for.
        # (client's port, server's port) to the paths that were asked for from there: more than one where the system
        # gave a client's port twice.
        self.requests = collections.defaultdict(list)
        self.dns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.dns.bind((LOOPBACK, 53))
        for run in (self.answer_names, self.relay):
            threading.Thread(target=run, daemon=True).start()
        for case in cases:
            threading.Thread(target=self.accept, args=(case,), daemon=True).start()

    def accept(self, case):
        context = self.tls_context(case.tls) if case.tls else None
        while True:
            stream, peer = case.socket.accept()
            threading.Thread(target=self.serve, args=(case, context, stream, peer), daemon=True).start()

    def tls_context(self, version):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
        # A ticket would look like the begin of the response.
        context.num_tickets = 0
        return context

    def serve(self, case, context, stream, peer):
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            case.late("tls")
            stream = context.wrap_socket(stream, server_side=True)
        with stream:
            request = b""
            while b"\r\n\r\n" not in request:
                piece = stream.recv(16_384)
                if not piece:
                    return
                request += piece
            self.requests[peer[1], case.port].append(request.split(b" ", 2)[1].decode())
            case.late("first_byte")
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\nConnection: close\r\n\r\n"
            half = len(BODY) // 2
            stream.sendall(head.encode() + BODY[:half])
            case.late("transfer")
            stream.sendall(BODY[half:])
            # The client closes first or now: nothing is left to be read that would make a reset of the close.
            stream.recv(1)

    def answer_names(self):
        while True:
            message, peer = self.dns.recvfrom(4_096)
            threading.Thread(target=self.answer_name, args=(message, peer), daemon=True).start()

    def answer_name(self, message, peer):
        end = message.index(b"\0", 12) + 5
        labels = message[12 : end - 5].decode("latin-1")
        case = next(case for name, case in self.cases.items() if f"{chr(len(name))}{name}\x07" in labels)
        is_a = message[end - 4 : end - 2] == b"\0\1"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4" + socket.inet_aton(case.address()) if is_a else b""
        # Response, recursion desired and available, no error.
        header = message[:2] + b"\x81\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + b"\0\0\0\0"
        case.late("dns")
        self.dns.sendto(header + message[12:end] + answer, peer)

    def relay(self):
        """Turns packets round; the servers' answers to a connection are held back."""
        held, order = [], itertools.count()
        while True:
            timeout = max(held[0][0] - time.perf_counter(), 0) if held else None
            ready, _, _ = select.select([self.tun], [], [], timeout)
            if ready:
                packet = os.read(self.tun, 65_536)
                turned = turn(packet)
                if turned is None:
                    continue
                header = (packet[0] & 15) * 4
                delay = 0
                if packet[header + 13] == SYN_ACK:
                    source = struct.unpack_from(">H", packet, header)[0]
                    delay = self.by_port[source].delays.get("connect", 0)
                if not delay:
                    os.write(self.tun, turned)
                    continue
                heapq.heappush(held, (time.perf_counter() + delay, next(order), turned))
            while held and held[0][0] <= time.perf_counter():
                os.write(self.tun, heapq.heappop(held)[2])


def turn(packet):
    """The packet as the other side has to see it; none where it is not one between the two."""
    ends = packet[12:16], packet[16:20]
    if packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_TCP:
        return None
    others = {(CLIENT, SERVER): (CLIENT_INSIDE, SERVER_INSIDE), (SERVER_INSIDE, CLIENT_INSIDE): (SERVER, CLIENT)}
    if ends not in others:
        return None
    return packet[:12] + b"".join(others[ends]) + packet[20:]


def make_certificate(folder):
    """A key and a certificate that vouches for itself, in one file."""
    path = folder / "site.pem"
    names = [f"DNS:*.{name}.{DOMAIN}" for name in ("all-5", "all-20")]
    names += [f"IP:{LOOPBACK}", f"IP:{socket.inet_ntoa(SERVER)}"]
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=timings".split()
    command += ["-addext", f"subjectAltName={','.join(names)}", "-keyout", path, "-out", folder / "ca.pem"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + (folder / "ca.pem").read_text())
    return path
