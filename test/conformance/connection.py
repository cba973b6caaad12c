"""Connections to the relay under test: TCP, a unix socket, WebSocket (RFC 6455, without extensions).

Every packet that comes in is held against the protocol's grammar, and every byte is kept, so that a check can
say afterwards what never came back. Nothing here knows what an answer means.
"""
import base64
import hashlib
import os
import re
import socket
import struct
import time

PATIENCE = 20.0
"""Seconds until an answer that does not come is a failure; nothing is ever waited for otherwise."""

CODES = {
    'wrong-usage', 'unknown-packet', 'too-large', 'bad-key', 'unsupported-key', 'auth-failed', 'bad-token', 'denied',
    'mailbox-full', 'relay-full', 'rate-limited', 'not-ready', 'timeout', 'restarting',
}

_NUMBER = '(?:0|[1-9][0-9]*)'
_BASE64 = '(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?'
_TEXT = '[^;\\r\\n\\0]'
_GRAMMAR = {number: re.compile(fields) for number, fields in {
    '1': f'{_TEXT}+;{_BASE64}',
    '12': f'[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+\\.[A-Za-z0-9_-]+;{_NUMBER}',
    '13': f'{_TEXT}+;{_NUMBER}',
    '14': f'{_NUMBER};{_NUMBER}',
    '15': _NUMBER,
    '16': _NUMBER,
    '17': '',
    '18': f'asfaleia/1(?:;{_TEXT}+={_TEXT}*)*',
    '19': _NUMBER,
    '20': f'{_TEXT}+;{_BASE64}',
    '21': f'[a-z0-9-]{{1,16}};{_TEXT}+;{_BASE64}',
    '31': _NUMBER,
    '33': _BASE64,
    '98': f'[a-z-]+(?:;{_TEXT}*)*',
    '99': f'[a-z-]+;{_TEXT}+(?:;{_TEXT}*)*',
}.items()}


class Failure(Exception):
    """The relay did not do what the protocol says."""


class Ended(Failure):
    """The relay closed the connection while a packet was waited for."""


def shown(data):
    """Bytes or fields for a person, cut short."""
    text = repr(data)
    return text if len(text) <= 200 else text[:150] + f'… ({len(data)} in all)'


def expect(condition, why):
    if not condition:
        raise Failure(why)


def pack(*fields):
    """One packet without its LF."""
    return b';'.join(field if isinstance(field, bytes) else str(field).encode() for field in fields)


def fields_of(line):
    """The fields of a packet of the relay's. @raises Failure where it is not of the grammar."""
    try:
        text = line.decode('utf-8')
    except UnicodeDecodeError:
        raise Failure(f'not UTF-8: {shown(line)}') from None
    number, _, rest = text.partition(';')
    form = _GRAMMAR.get(number)
    expect(form is not None, f'not a packet of a relay: {shown(text)}')
    expect(form.fullmatch(rest) is not None, f'not of the form of packet {number}: {shown(text)}')
    expect(number != '17' or text == '17', f'a PONG with fields: {shown(text)}')
    fields = text.split(';')
    expect(number != '99' or fields[1] in CODES, f'an ERROR of no known code: {shown(text)}')
    return fields


class Connection:
    """One packet at a time over a byte stream."""

    def __init__(self, sock):
        self.sock = sock
        self.received = bytearray()
        self._buffer = bytearray()

    # what a kind of stream does in its own way

    def send(self, packet):
        self.raw(packet + b'\n')

    def next_packet(self, until):
        """The next packet's bytes. @raises Ended, Failure after `until`."""
        while b'\n' not in self._buffer:
            self.fill(until)
        line, _, rest = bytes(self._buffer).partition(b'\n')
        self._buffer[:] = rest
        return line

    # what all do alike

    def raw(self, data):
        """Bytes as they are. What the relay has cut off already is not an error: its last words may still be read."""
        try:
            self.sock.settimeout(PATIENCE)
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        except socket.timeout:
            raise Failure(f'the relay read nothing for {PATIENCE:.0f} s') from None

    def fill(self, until):
        left = until - time.monotonic()
        expect(left > 0, 'no answer came')
        self.sock.settimeout(left)
        try:
            data = self.sock.recv(262144)
        except socket.timeout:
            raise Failure('no answer came') from None
        except ConnectionResetError:
            data = b''
        if not data:
            raise Ended('the relay closed the connection')
        self.received += data
        self._buffer += data

    def say(self, *fields):
        self.send(pack(*fields))

    def hear(self, patience=None):
        """The fields of the relay's next packet, whichever it is."""
        return fields_of(self.next_packet(time.monotonic() + (patience or PATIENCE)))

    def ask(self, *fields):
        self.say(*fields)
        return self.hear()

    def answered(self, number, *fields):
        """Asks, and wants this packet. @returns its fields after the number."""
        return self.wants(number, self.ask(*fields))

    def wants(self, number, heard=None):
        heard = heard or self.hear()
        expect(heard[0] == str(number), f'wanted a {number}, came {shown(";".join(heard))}')
        return heard[1:]

    def refused(self, codes, *fields):
        """Asks, and wants one of these errors. @returns its code."""
        return self.wants_error(codes, self.ask(*fields))

    def wants_error(self, codes, heard=None):
        codes = codes.split()
        heard = heard or self.hear()
        expect(heard[0] == '99' and heard[1] in codes, f'wanted {" or ".join(codes)}, came {shown(";".join(heard))}')
        return heard[1]

    def stays(self):
        """The connection lives, and nothing was said in between."""
        self.answered(17, 7)

    def ends(self, patience=None):
        """The relay closes, without another word."""
        try:
            more = self.hear(patience)
        except Ended:
            return
        raise Failure(f'wanted the connection closed, came {shown(";".join(more))}')

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def host_and_port(text):
    host, _, port = text.rpartition(':')
    return host.strip('[]'), int(port)


def open_tcp(address):
    sock = socket.create_connection(host_and_port(address), timeout=PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Connection(sock)


def open_unix(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(PATIENCE)
    sock.connect(path)
    return Connection(sock)


CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class WebSocket(Connection):
    """RFC 6455's client side. One message is one packet."""

    def __init__(self, sock, opcode=TEXT, already=b''):
        """@param already what came behind the answer to the upgrade."""
        super().__init__(sock)
        self.received += already
        self._buffer += already
        self.opcode = opcode
        self.pongs = []
        self.close_code = None

    def send(self, packet):
        self.frame(self.opcode, packet)

    def frame(self, opcode, payload, fin=True, masked=True, reserved=0):
        size = len(payload)
        first = (0x80 if fin else 0) | reserved << 4 | opcode
        mask_bit = 0x80 if masked else 0
        if size < 126:
            head = bytes([first, mask_bit | size])
        elif size < 65536:
            head = bytes([first, mask_bit | 126]) + struct.pack('>H', size)
        else:
            head = bytes([first, mask_bit | 127]) + struct.pack('>Q', size)
        if masked:
            mask = os.urandom(4)
            whole = int.from_bytes(payload, 'big') ^ int.from_bytes((mask * (size // 4 + 1))[:size], 'big')
            head, payload = head + mask, whole.to_bytes(size, 'big')
        self.raw(head + payload)

    def _take(self, size, until):
        while len(self._buffer) < size:
            self.fill(until)
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def next_frame(self, until):
        first, second = self._take(2, until)
        expect(not first & 0x70, 'a frame with reserved bits: no extension was agreed')
        expect(not second & 0x80, 'a masked frame from a server')
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack('>H', self._take(2, until))
        elif size == 127:
            (size,) = struct.unpack('>Q', self._take(8, until))
        return bool(first & 0x80), first & 15, self._take(size, until)

    def hear_or_pong(self):
        """The next packet's fields, or None for a pong."""
        packet = self.next_packet(time.monotonic() + PATIENCE, or_pong=True)
        return None if packet is None else fields_of(packet)

    def next_packet(self, until, or_pong=False):
        message = b''
        while True:
            fin, opcode, payload = self.next_frame(until)
            if opcode == PING:
                self.frame(PONG, payload)
            elif opcode == PONG:
                self.pongs.append(payload)
                if or_pong:
                    return None
            elif opcode == CLOSE:
                self.close_code = struct.unpack('>H', payload[:2])[0] if len(payload) >= 2 else 1005
                raise Ended(f'the relay closed the WebSocket ({self.close_code})')
            else:
                message += payload
                if fin:
                    expect(b'\n' not in message and b'\r' not in message, 'a WebSocket message with a line break')
                    return message


def upgrade(address, path='/v1', protocols='asfaleia.1', more=()):
    """Asks for a WebSocket. @returns the socket, the status line, the headers by lower-case name, the bytes after."""
    sock = socket.create_connection(host_and_port(address), timeout=PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    rows = [f'GET {path} HTTP/1.1', f'Host: {address}', 'Connection: Upgrade', 'Upgrade: websocket',
            'Sec-WebSocket-Version: 13', f'Sec-WebSocket-Key: {key}']
    if protocols is not None:
        rows.append(f'Sec-WebSocket-Protocol: {protocols}')
    sock.sendall('\r\n'.join([*rows, *more, '', '']).encode())
    head = b''
    while b'\r\n\r\n' not in head:
        data = sock.recv(65536)
        if not data:
            break
        head += data
    head, _, rest = head.partition(b'\r\n\r\n')
    status, *lines = head.decode('latin-1').split('\r\n')
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(':') for line in lines)}
    if ' 101 ' in status + ' ':
        token = base64.b64encode(hashlib.sha1((key + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').encode()).digest())
        expect(headers.get('sec-websocket-accept') == token.decode(), 'a wrong Sec-WebSocket-Accept')
    return sock, status, headers, rest


def open_websocket(address, opcode=TEXT):
    sock, status, headers, rest = upgrade(address)
    expect(' 101 ' in status + ' ', f'no WebSocket: {status}')
    expect(headers.get('sec-websocket-protocol') == 'asfaleia.1', 'the subprotocol asfaleia.1 was not taken')
    return WebSocket(sock, opcode, rest)
