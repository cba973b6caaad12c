"""Section 1's other doors: WebSocket by the letter of RFC 6455, and the PROXY line."""
import os


from check import check, expect, payload, shown
from connection import (BINARY, CLOSE, CONTINUATION, PING, TEXT, Ended, WebSocket, open_tcp, open_websocket,
                        pack, upgrade)


@check('websocket: /v1 with the subprotocol asfaleia.1 and no extension', needs='ws')
def _(t):
    sock, status, headers, _ = upgrade(t.options.ws,
        more=('Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits',))
    sock.close()
    expect(' 101 ' in status + ' ', status)
    expect(headers.get('sec-websocket-protocol') == 'asfaleia.1', 'the subprotocol was not taken')
    expect('sec-websocket-extensions' not in headers, 'an extension was agreed')
    sock, status, headers, _ = upgrade(t.options.ws, protocols='chat, asfaleia.1, asfaleia.2')
    sock.close()
    expect(headers.get('sec-websocket-protocol') == 'asfaleia.1', 'the subprotocol was not chosen among others')


@check('websocket: other paths, and other subprotocols, are none', needs='ws')
def _(t):
    for path in ('/', '/v2', '/v1/x', '/v', '/v11', '/' + t.mark):
        sock, status, _, rest = upgrade(t.options.ws, path=path)
        conn = t.keep(WebSocket(sock, TEXT, rest))
        if ' 101 ' in status + ' ':
            conn.send(b'7')
            conn.ends()
            t.note(f'on {path} the upgrade is made, and closed at once')
    for protocols in (None, 'asfaleia.2', 'chat'):
        sock, status, headers, _ = upgrade(t.options.ws, protocols=protocols)
        sock.close()
        expect(headers.get('sec-websocket-protocol') is None,
            'a subprotocol that was not offered, or is not known, was taken')
        t.note(f'with the subprotocol {protocols} the upgrade ' + ('is made' if ' 101 ' in status + ' ' else f'is refused: {status}'))


@check('websocket: a page of another site, and an empty subprotocol, are refused', needs='ws')
def _(t):
    for origin in ('https://example.org', 'http://localhost.example.org', 'null'):
        sock, status, _, _ = upgrade(t.options.ws, more=(f'Origin: {origin}',))
        sock.close()
        expect(' 403 ' in status + ' ', f'a page of {origin}: {status}')
    sock, status, headers, _ = upgrade(t.options.ws, protocols='asfaleia.1, ')
    sock.close()
    expect(' 400 ' in status + ' ', f'an empty subprotocol: {status}')
    expect('date' not in headers, 'a refused upgrade states the time')


@check('websocket: text and binary messages mean the same', needs='ws')
def _(t):
    for opcode in (TEXT, BINARY):
        conn = t.keep(open_websocket(t.options.ws, opcode))
        key = t.person()
        token = t.login(conn, key)
        text = payload()
        conn.answered(13, 3, token, key.line, text)
        conn.answered(14, 4, token)
        expect(conn.wants(20)[1] == text, 'not what was sent')
        conn.opcode = TEXT if opcode == BINARY else BINARY
        conn.stays()


@check('websocket: one message is one packet, without its LF', needs='ws')
def _(t):
    rows = [b'7\n7', b'7\n8;asfaleia/1', b'\n7', b'7\n\n', b'7\r\n7', b'', b'\n', b'77\n7']
    for row in rows:
        conn = t.dial('ws')
        conn.send(row)
        conn.wants_error('wrong-usage unknown-packet')
        conn.stays()
    for row in (b'7\n', b'7\r', b'7\r\n'):
        conn = t.dial('ws')
        conn.send(row)
        heard = conn.hear()
        expect(heard == ['17'] or heard[0] == '99' and heard[1] in ('wrong-usage', 'unknown-packet'), shown(heard))
        t.note(f'the message {row!r} is ' + ('a PING' if heard[0] == '17' else heard[1]))
        conn.stays()


@check('websocket: fragments are one message, with pings between them', needs='ws')
def _(t):
    conn, key, token = t.joined(door='ws')
    text = payload(400)
    packet = pack(3, token, key.line, text)
    for cut in (0, 1, 2, 100, len(packet) - 1, len(packet)):
        conn.frame(TEXT, packet[:cut], fin=False)
        conn.frame(PING, b'between')
        conn.frame(CONTINUATION, packet[cut:], fin=True)
        conn.wants(13)
    for at in range(len(packet)):
        conn.frame(BINARY if at == 0 else CONTINUATION, packet[at:at + 1], fin=at == len(packet) - 1)
    conn.wants(13)
    expect(conn.pongs == [b'between'] * 6, 'not a pong for each ping')
    count, _ = conn.answered(14, 4, token)
    expect(count == '7' and all(conn.wants(20)[1] == text for _ in range(7)), 'not what was sent')


@check('websocket: frames cut at every byte mean the same', needs='ws')
def _(t):
    conn = t.dial('ws')
    frames = bytearray()
    real, conn.raw = conn.raw, frames.extend
    for packet in (b'7', b'8;asfaleia/1', b'55', b'7'):
        conn.send(packet)
    conn.raw = real
    for at in range(len(frames)):
        conn.raw(bytes(frames[at:at + 1]))
    for number in ('17', '18', '99', '17'):
        conn.wants(number)


@check('websocket: many messages in one write are all answered, in order', needs='ws')
def _(t):
    conn = t.dial('ws')
    frames = bytearray()
    real, conn.raw = conn.raw, frames.extend
    for _ in range(1000):
        conn.send(b'7')
    conn.send(b'8;asfaleia/1')
    conn.raw = real
    conn.raw(bytes(frames))
    for _ in range(1000):
        conn.wants(17)
    conn.wants(18)


@check('websocket: a ping is answered by its pong', needs='ws')
def _(t):
    conn = t.dial('ws')
    for body in (b'', b'x', os.urandom(125)):
        conn.frame(PING, body)
        conn.stays()
        expect(conn.pongs[-1:] == [body], 'not its pong')


@check('websocket: a close is answered by a close', needs='ws')
def _(t):
    conn = t.dial('ws')
    conn.frame(CLOSE, b'\x03\xe8')
    conn.ends()
    expect(conn.close_code is not None, 'no close came back')


@check('websocket: a message too large is too-large, also in fragments', needs='ws')
def _(t):
    conn = t.dial('ws')
    conn.send(b'8;' + b'x' * 9000)
    conn.wants_error('too-large')
    conn.ends()
    conn, key, token = t.joined(door='ws')
    conn.send(pack(3, token, key.line, payload(32768 + 8192)))
    conn.wants_error('too-large')
    conn.ends()
    conn = t.dial('ws')
    for at in range(9):
        conn.frame(CONTINUATION if at else TEXT, b'8;' + b'x' * 1000, fin=at == 8)
    conn.wants_error('too-large')
    conn.ends()


@check('websocket: a message without end is cut off before it fills the memory', needs='ws')
def _(t):
    conn = t.dial('ws')
    conn.frame(TEXT, b'8;' + b'x' * 4096, fin=False)
    sent = 4098
    try:
        while sent < 4 << 20:
            for _ in range(4):
                conn.frame(CONTINUATION, b'y' * 4096, fin=False)
                sent += 4096
            # A ping within the message: the pong says that the relay still takes it.
            conn.frame(PING, b'%d' % sent)
            while (b'%d' % sent) not in conn.pongs:
                heard = conn.hear_or_pong()
                if heard is not None:
                    conn.wants_error('too-large', heard)
                    conn.ends()
                    t.note(f'a message without end is too-large after {sent} bytes at the latest')
                    return
    except Ended:
        t.note(f'a message without end is cut off without too-large ({conn.close_code}) after {sent} bytes at the latest')
        return
    expect(False, f'{sent} bytes of one message were taken')


@check('websocket: a frame that claims to be huge is cut off before it comes', needs='ws')
def _(t):
    for size in (1 << 20, 1 << 40, (1 << 63) - 1):
        conn = t.dial('ws')
        conn.raw(b'\x82\xff' + size.to_bytes(8, 'big') + b'mask' + b'x' * 100)
        try:
            conn.wants_error('too-large')
            conn.ends()
        except Ended:
            t.note(f'a frame of {size} bytes is cut off without too-large')


@check('websocket: frames that RFC 6455 forbids end the connection', needs='ws')
def _(t):
    rows = [
        ('unmasked', dict(opcode=TEXT, payload=b'7', masked=False)), ('reserved opcode 3', dict(opcode=3, payload=b'7')),
        ('reserved opcode 11', dict(opcode=11, payload=b'7')),
        ('reserved bit 1', dict(opcode=TEXT, payload=b'7', reserved=4)),
        ('reserved bit 3', dict(opcode=TEXT, payload=b'7', reserved=1)),
        ('a continuation of nothing', dict(opcode=CONTINUATION, payload=b'7')),
        ('a ping in fragments', dict(opcode=PING, payload=b'7', fin=False)),
        ('a ping of 126 bytes', dict(opcode=PING, payload=b'7' * 126)),
    ]

    def forbidden(frame):
        conn = t.dial('ws')
        conn.frame(**frame)
        conn.ends()
    t.every(rows, forbidden)
    t.dial('ws').stays()


@check('websocket: text that is not UTF-8 hurts nobody', needs='ws')
def _(t):
    beside = t.dial('ws')
    conn = t.dial('ws')
    conn.frame(TEXT, b'8;\xff\xfe\xc3')
    try:
        conn.wants_error('wrong-usage unknown-packet')
        t.note('text that is not UTF-8 is wrong-usage')
    except Ended:
        t.note(f'text that is not UTF-8 closes the WebSocket ({conn.close_code})')
    conn = t.dial('ws')
    conn.frame(BINARY, b'8;\xff\xfe\xc3')
    conn.wants_error('wrong-usage unknown-packet')
    beside.stays()


@check('doors: one mailbox behind all of them', needs='ws')
def _(t):
    tcp, key, token = t.joined(door='tcp')
    ws = t.dial('ws')
    text = payload()
    ws.answered(13, 3, token, key.line, text)
    expect(ws.answered(16, 6, token) == ['1'] and ws.wants(20)[1] == text, 'not what was sent')
    tcp.answered(13, 3, token, key.line, text)
    expect(ws.wants(20)[1] == text, 'not what was sent by TCP')
    if t.options.unix:
        unix = t.dial('unix')
        unix.answered(16, 6, token)
        expect(ws.hear()[:2] == ['98', 'taken-over'], 'no takeover between the doors')


@check('proxy: no PROXY line is taken where none was configured', needs='defaults')
def _(t):
    conn = t.dial()
    conn.raw(b'PROXY TCP6 fc00:dead:beef:4dad::ffff:ffff ::1 65535 42\r\n')
    conn.wants_error('wrong-usage unknown-packet')
    conn.stays()


@check('proxy: one line before the first packet, cut anywhere', needs='proxy')
def _(t):
    line = b'PROXY TCP6 fc00:dead:beef:4dad::12:34ab ::1 65535 42\r\n'
    for cut in range(len(line) + 3):
        conn = open_tcp(t.options.tcp)
        whole = line + b'7\n'
        conn.raw(whole[:cut])
        t.dial().stays()
        conn.raw(whole[cut:])
        conn.wants(17)
        conn.close()


@check('proxy: a second line, or none, is not a packet', needs='proxy')
def _(t):
    conn = t.dial()
    conn.raw(b'PROXY TCP6 fc00:dead:beef:4dad::1:1 ::1 65535 42\r\n')
    conn.wants_error('wrong-usage unknown-packet')
    bare = open_tcp(t.options.tcp)
    bare.raw(b'7\n')
    try:
        heard = bare.hear()
        t.note(f'without a PROXY line came {shown(heard)}')
        expect(heard[0] == '99', 'a packet was taken without its PROXY line')
    except Ended:
        t.note('without a PROXY line the connection is closed')
    bare.close()
