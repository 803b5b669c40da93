"""What was really on the wire: every packet with the kernel's own time of it, and the phases that follow.

A packet socket sees the packets of all interfaces. What the client sends is stamped as it leaves, what it gets as
it arrives; neither waits for Python. So the truth is right to some microseconds, however late a thread here wakes.
"""

import collections
import itertools
import socket
import struct
import threading

SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
ETH_P_ALL, ETH_P_IP = 3, 0x0800
OUTGOING = 4
# Of a packet: room for all that loopback carries in one.
LONGEST = 70_000
RECORD_HANDSHAKE, RECORD_DATA = 22, 23
FIN, SYN, RST, ACK = 1, 2, 4, 16

Packet = collections.namedtuple("Packet", "at, flags, payload")
PHASES = ("dns", "connect", "tls", "first_byte", "transfer", "total")


class Capture:
    """All packets between `begin` and `end`."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        except PermissionError:
            # In a name space of one's own: the buffer is as large as the system lets it be, and drops are counted.
            pass
        self.packets = []
        self.marked = threading.Event()
        self.marks, self.mark = itertools.count(), None
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            data, ancillary, _, whence = self.socket.recvmsg(LONGEST, 64)
            if whence[1] != ETH_P_IP:
                continue
            seconds, nanoseconds = struct.unpack("@ll", ancillary[0][2][:16])
            self.packets.append((seconds * 1_000_000_000 + nanoseconds, whence[2] == OUTGOING, data))
            if self.mark and data.endswith(self.mark):
                self.marked.set()

    def take(self):
        """What came since the last time, up to now: a packet of our own that has come through is the last one."""
        self.marked.clear()
        self.mark = b"the capture has come to mark %d" % next(self.marks)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            # To the discard service, which nobody offers.
            sender.sendto(self.mark, ("127.0.0.1", 9))
        if not self.marked.wait(60):
            raise TimeoutError("the capture does not come to its mark")
        taken, self.packets = self.packets, []
        return taken

    def drops(self):
        counted = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        return struct.unpack("@II", counted)[1]


class Wire:
    """The conversations in some packets, by (client port, server port); and the DNS questions, by name."""

    def __init__(self, packets, ports, relayed):
        """`ports` are the servers'. `relayed` are the addresses behind the relay: the client's side is before it."""
        self.sent = collections.defaultdict(list)
        self.got = collections.defaultdict(list)
        self.asked = collections.defaultdict(list)
        self.answered = collections.defaultdict(dict)
        for at, outgoing, data in packets:
            if len(data) < 28 or data[0] >> 4 != 4:
                continue
            header = (data[0] & 15) * 4
            if data[12:16] in relayed or data[16:20] in relayed:
                continue
            length = struct.unpack_from(">H", data, 2)[0]
            source, target = struct.unpack_from(">HH", data, header)
            if data[9] == socket.IPPROTO_UDP:
                self._question(at, outgoing, source, target, data[header + 8 : length])
            elif data[9] == socket.IPPROTO_TCP:
                packet = Packet(at, data[header + 13], data[header + (data[header + 12] >> 4) * 4 : length])
                if target in ports and outgoing:
                    self.sent[source, target].append(packet)
                elif source in ports and not outgoing:
                    self.got[target, source].append(packet)

    def _question(self, at, outgoing, source, target, message):
        if 53 not in (source, target) or len(message) < 13:
            return
        labels, place = [], 12
        while message[place]:
            labels.append(message[place + 1 : place + 1 + message[place]])
            place += 1 + message[place]
        name = b".".join(labels).decode().lower()
        if target == 53 and outgoing:
            self.asked[name].append(at)
        elif source == 53 and not outgoing:
            # A question that was asked again has another answer: the first one counts.
            kind = message[place + 1 : place + 3]
            self.answered[name].setdefault(kind, at)

    def phases(self, conversation, name):
        """Seconds of each phase of one probe; a phase that did not happen is absent."""
        sent, got = self.sent[conversation], self.got[conversation]
        began = next(packet.at for packet in sent if packet.flags & SYN)
        connected = next(packet.at for packet in got if packet.flags & (SYN | ACK) == SYN | ACK)
        said = [packet for packet in sent if packet.payload]
        heard = [packet for packet in got if packet.payload]
        found = {"connect": connected - began}
        begin = began
        if name:
            begin = self.asked[name][0]
            found["dns"] = max(self.answered[name].values()) - begin
        if said[0].payload[0] == RECORD_HANDSHAKE:
            ended, request = handshake(said, heard)
            found["tls"] = ended - connected
        else:
            request = said[0].at
        answer = [packet.at for packet in heard if packet.at > request]
        found["first_byte"] = answer[0] - request
        found["transfer"] = answer[-1] - answer[0]
        found["total"] = answer[-1] - begin
        return {phase: nanoseconds / 1e9 for phase, nanoseconds in found.items()}


def handshake(said, heard):
    """When a handshake ended for the client, and when its request went out.

    In TLS 1.3 the client's first record of data is the end of the handshake, and the next one the request. In TLS
    1.2 the first one is the request, and the handshake ended with what came before it.
    """
    data = [at for at, kind in records(said) if kind == RECORD_DATA]
    if is_tls13(heard):
        return data[0], data[1]
    return max(packet.at for packet in heard if packet.at < data[0]), data[0]


def is_tls13(heard):
    """In TLS 1.3 the server sends data records (all that is encrypted looks like one) before the client does."""
    kinds = [kind for _, kind in records(heard)]
    # ServerHello, ChangeCipherSpec, then either data or more of the handshake in the clear.
    return kinds[:3].count(RECORD_DATA) > 0


def records(packets):
    """The TLS records of one direction: when the packet with its first byte was there, and its type."""
    stream, places = b"", []
    for packet in packets:
        places.append((len(stream), packet.at))
        stream += packet.payload
    place = 0
    while place + 5 <= len(stream):
        at = max(start for start in places if start[0] <= place)[1]
        yield at, stream[place]
        place += 5 + struct.unpack_from(">H", stream, place + 3)[0]
