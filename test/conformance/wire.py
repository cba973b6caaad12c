"""Sections 1, 2 and 5: bytes, packets, errors and the limits of a line."""
import os

from check import check, expect, payload
from connection import Ended, pack, shown
from key import Ed25519, b64, line_of, rsa_blob, sshsig

MALFORMED = 'wrong-usage unknown-packet'
"""A number that is not a number: section 5 lets it be read either way."""


@check('bytes: a packet is a line, and PING is answered by PONG', doors='tcp unix')
def _(t):
    conn = t.dial()
    conn.raw(b'7\n')
    conn.hear()
    expect(bytes(conn.received) == b'17\n', f'to 7 LF came {shown(bytes(conn.received))}')


@check('bytes: one CR before the LF is ignored', doors='tcp unix')
def _(t):
    conn = t.dial()
    conn.raw(b'7\r\n')
    conn.wants(17)
    conn.raw(f'8;asfaleia/1;{t.name}\r\n'.encode())
    conn.wants(18)
    conn.raw(f'0;{t.person().line};sign\r\n'.encode())
    conn.wants(1)


@check('bytes: no field holds CR or NUL')
def _(t):
    rows = [b'7\r\r', b'\r7', b'7\0', b'7;\0', b'8;asfaleia/1\0', b'8;asfaleia/1;local\rhost',
        b'8;asfaleia/1\r;localhost',
            b'0;' + t.person().line.encode() + b' com\0ment;sign', b'0;' + t.person().line.encode() + b' com\rment;sign']
    t.every([(shown(row), row) for row in rows],
            lambda row: t.dial().refused(MALFORMED + ' bad-key', row))


@check('bytes: the number is decimal without leading zeros')
def _(t):
    rows = [b'07', b'007', b'+7', b'-7', b' 7', b'7 ', b'\t7', b'0x7', b'7.0', b'7e0', b'', b';', b'7x', b'PING', b'ping',
            '٧'.encode(), b'\xff7', b'\xc3', b'7\xe2\x80\x8b', b'00', b'1_7', b'0b111', b'NaN', b'--']
    t.every([(shown(row), row) for row in rows], lambda row: t.dial().refused(MALFORMED, row))


@check('bytes: without its LF nothing is a packet', doors='tcp unix')
def _(t):
    conn, key, token = t.joined()
    sender, _, pass_ = t.joined()
    sender.answered(13, 3, pass_, key.line, payload())
    conn.raw(b'9;' + token.encode())
    conn.close()
    sender.stays()
    again, _, token = t.joined(key)
    count, _ = again.answered(14, 4, token)
    expect(count == '1', 'a WIPE without its LF was carried out')
    again.wants(20)
    again.raw(b'7')
    sender.stays()
    again.raw(b'\n')
    again.wants(17)


def _stream(t):
    """Requests of every kind before login, each with its answer's number and code."""
    mark = t.mark.encode()
    return [
        (b'8;asfaleia/1;' + t.name.encode(), '18'), (b'7', '17'), (b'7\r', '17'), (b'55;' + mark, '99 unknown-packet'),
        (b'7;' + mark, '99 wrong-usage'), (b'4;' + mark, '99 bad-token'), (b'0;ssh-ed25519 ' + mark, '99 bad-key'),
        (b'3;a', '99 wrong-usage'), (b'\xff\xfe', None), (b'7', '17'),
    ]


def _tell(heard):
    return ' '.join(heard[:2]) if heard[0] == '99' else heard[0]


def _means(conn, stream, where):
    for packet, meaning in stream:
        told = _tell(conn.hear())
        if meaning is None:
            expect(told.startswith('99 '), f'{where}: to {shown(packet)} came {told}')
        else:
            expect(told == meaning, f'{where}: to {shown(packet)} came {told}, not {meaning}')


@check('bytes: cut in two at every place they mean the same', doors='tcp unix')
def _(t):
    stream = _stream(t)
    whole = b''.join(packet + b'\n' for packet, _ in stream)
    beside = t.dial()
    for cut in range(len(whole) + 1):
        with t.dial() as conn:
            conn.raw(whole[:cut])
            # The answer on the other connection comes after the relay has seen the first part on this one.
            beside.stays()
            conn.raw(whole[cut:])
            _means(conn, stream, f'cut at {cut}')


@check('bytes: in chunks of every size, and byte by byte, they mean the same', doors='tcp unix')
def _(t):
    stream = _stream(t)
    whole = b''.join(packet + b'\n' for packet, _ in stream)
    for size in range(1, len(whole) + 1):
        with t.dial() as conn:
            for at in range(0, len(whole), size):
                conn.raw(whole[at:at + size])
            _means(conn, stream, f'chunks of {size}')


@check('bytes: a session in chunks of every size gives what it gives whole')
def _(t):
    conn, key, token = t.joined()
    for size in (1, 2, 3, 5, 7, 11, 16, 33, 64, 100, 255, 256, 257, 512, 1000, 1460, 4096, 1 << 20):
        texts = [payload(4 * n) for n in (1, 5, 50, 200, 7)]
        packets = [pack(3, token, key.line, text) for text in texts] + [pack(4, token, 'lease'), b'7\r']
        whole = b''.join(packet + b'\n' for packet in packets)
        for at in range(0, len(whole), size):
            conn.raw(whole[at:at + size])
        ids = [conn.wants(13)[0] for _ in texts]
        expect(conn.wants(14) == ['5', '0'], f'chunks of {size}: another count')
        expect([conn.wants(20) for _ in texts] == [list(pair) for pair in zip(ids, texts)],
               f'chunks of {size}: other messages')
        conn.wants(17)
        expect(conn.answered(15, 5, token, *ids) == ['5'], f'chunks of {size}: not all acknowledged')


@check('bytes: a payload of the limit byte by byte at its edges')
def _(t):
    conn, key, token = t.joined()
    text = payload(32768)
    packet = pack(3, token, key.line, text) + b'\n7\n'
    for piece in (*(packet[at:at + 1] for at in range(400)), packet[400:-300],
                  *(packet[at:at + 1] for at in range(len(packet) - 300, len(packet)))):
        conn.raw(piece)
    conn.wants(13)
    conn.wants(17)
    conn.answered(14, 4, token)
    expect(conn.wants(20)[1] == text, 'the payload came back changed')


@check('bytes: thousands of packets in one write are all answered', doors='tcp unix')
def _(t):
    conn = t.dial()
    conn.raw(b'7\n' * 3000)
    for _ in range(3000):
        conn.wants(17)


@check('packets: answers come in the order of the requests', doors='tcp unix ws')
def _(t):
    conn, key, token = t.joined()
    # Requests that take long (a signature, a key to encrypt to) between some that take no time at all.
    other = t.person()
    handle, challenge = t.challenge(conn, other.line, 'sign')
    answer = b64(sshsig(other, challenge))
    stranger = Ed25519()
    wanted = []
    for packet, number in (
        (pack(0, stranger.line), '1'), (b'7', '17'), (pack(2, handle, answer), '12'), (b'7', '17'),
        (pack(3, token, key.line, payload()), '13'), (pack(0, stranger.line, 'sign'), '1'),
        (pack(3, token[:-9] + 'AAAAAAAAA', key.line, payload()), '99'), (b'8;asfaleia/1', '18'), (pack(4, token), '14'),
        (None, '20'), (pack(6, token), '16'), (b'55', '99'), (pack(9, token), '19'), (pack(5, token, 'x'), None),
        (b'7', '17'),
    ):
        if packet is not None:
            conn.send(packet)
        wanted.append(number)
    came = [conn.hear()[0] for _ in wanted]
    expect(all(want in (None, told) for want, told in zip(wanted, came)), f'wanted {wanted}, came {came}')


@check('packets: numbers that nobody has are unknown-packet', doors='tcp ws')
def _(t):
    numbers = [10, 11, 22, 29, *range(35, 50), 50, 77, 97, 100, 255, 256, 65543, 2 ** 32 + 7, 2 ** 53 + 7,
        2 ** 64 + 7, 10 ** 40]
    t.every([(str(n), n) for n in numbers], lambda n: t.dial().refused('unknown-packet', n, t.mark))


@check('packets: the relay\'s own numbers are not a client\'s')
def _(t):
    numbers = [1, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 31, 33, 98, 99]
    t.every([(str(n), n) for n in numbers], lambda n: t.dial().refused(MALFORMED, n, t.mark))


@check('packets: fields missing, too many or malformed are wrong-usage')
def _(t):
    conn, key, token = t.joined()
    line, m = key.line, t.mark
    rows = [
        ('AUTH', [0]), ('AUTH with more', [0, line, 'sign', m]), ('AUTH with another word', [0, line, m]),
        ('AUTH with Sign', [0, line, 'Sign']), ('AUTH with an empty word', [0, line, '']),
        ('VERIFY', [2]), ('VERIFY without an answer', [2, '5']), ('VERIFY with more', [2, '5', m, m]),
        ('SEND', [3]), ('SEND of a token', [3, token]), ('SEND without a payload', [3, token, line]),
        ('SEND with more', [3, token, line, payload(), m]),
        ('SEND with an empty field after', [3, token, line, payload(), '']),
        ('GET with another word', [4, token, m]), ('GET with Lease', [4, token, 'LEASE']),
        ('GET with an empty word', [4, token, '']),
        ('GET with more', [4, token, 'lease', m]),
        ('ACK of nothing', [5, token]), ('SUBSCRIBE with more', [6, token, m]), ('PING with a field', [7, m]),
        ('PING with an empty field', [7, '']), ('HELLO', [8]), ('HELLO with more', [8, 'asfaleia/1', t.name, m]),
        ('HELLO of version 2', [8, 'asfaleia/2']), ('HELLO of another protocol', [8, m]), ('HELLO of nothing', [8, '']),
        ('HELLO of version 1.0', [8, 'asfaleia/1.0']), ('WIPE with more', [9, token, m]),
    ]

    def wrong(packet):
        with t.dial() as fresh:
            fresh.refused('wrong-usage', *packet)
            fresh.stays()
    t.every([(name, packet) for name, packet in rows], wrong)
    expect(conn.answered(14, 4, token) == ['0', '0'], 'something was stored')


@check('packets: a token that is missing is bad-token or wrong-usage')
def _(t):
    rows = [('GET', [4]), ('GET empty', [4, '']), ('WIPE', [9]), ('WIPE empty', [9, '']), ('SUBSCRIBE', [6]),
            ('SUBSCRIBE empty', [6, '']), ('ACK', [5]), ('ACK empty', [5, '', 'x']),
            ('SEND empty', [3, '', t.person().line, payload()])]
    t.every(rows, lambda packet: t.note(
        f'a missing token ({len(packet)} fields) is {t.dial().refused("bad-token wrong-usage", *packet)}'))


@check('hello: WELCOME names the protocol and the limits in force', doors='tcp unix ws')
def _(t):
    conn = t.dial()
    fields = conn.answered(18, 8, 'asfaleia/1')
    expect(fields[0] == 'asfaleia/1', f'a WELCOME of {fields[0]}')
    pairs = [field.split('=', 1) for field in fields[1:]]
    expect(len({key for key, _ in pairs}) == len(pairs), 'a key twice')
    t.note('WELCOME says ' + ' '.join(fields[1:]))
    numbers = {value for _, value in pairs}
    # The protocol does not say what the keys are called, nor their units: the numbers of section 6 are looked for.
    lost = [n for n in ('8192', '32768', '128', '64') if n not in numbers]
    expect(not lost, f'limits of section 6 not told: {lost}')
    expect(conn.answered(18, 8, 'asfaleia/1') == fields, 'another WELCOME the second time')


@check('hello: a name of the relay\'s own is taken, another is wrong-usage')
def _(t):
    for name in t.names:
        t.dial().answered(18, 8, 'asfaleia/1', name)
    rows = [t.mark + '.onion', t.name + '.', t.name + 'x', t.name[:-1], 'a' * 56 + '.onion', '127.0.0.1', '*', '']
    t.every([(shown(name), name) for name in rows], lambda name: t.dial().refused('wrong-usage', 8, 'asfaleia/1', name))


@check('hello: it is not asked for, and may come late')
def _(t):
    conn, _, token = t.joined()
    conn.answered(18, 8, 'asfaleia/1', t.name)
    conn.answered(14, 4, token)


@check('errors: wrong-usage stays nine times and closes after ten', doors='tcp unix ws')
def _(t):
    conn = t.dial()
    for _ in range(9):
        conn.refused('wrong-usage', 7, t.mark)
        conn.stays()
    conn.refused('wrong-usage', 7, t.mark)
    conn.ends()


@check('errors: unknown-packet stays nine times and closes after ten', doors='tcp unix ws')
def _(t):
    conn = t.dial()
    for _ in range(9):
        conn.refused('unknown-packet', 77, t.mark)
        conn.stays()
    conn.refused('unknown-packet', 77, t.mark)
    conn.ends()


@check('errors: after ten in one write nothing more is done')
def _(t):
    conn, key, token = t.joined()
    sender, _, pass_ = t.joined()
    sender.answered(13, 3, pass_, key.line, payload())
    conn.raw(b'7;x\n' * 10 + pack(9, token) + b'\n' + b'7\n' * 3)
    for _ in range(10):
        conn.wants_error('wrong-usage')
    conn.ends()
    again, _, token = t.joined(key)
    expect(again.answered(14, 4, token)[0] == '1', 'what came after the tenth error was carried out')


@check('errors: wrong-usage and unknown-packet together')
def _(t):
    conn = t.dial()
    conn.raw(b'7;x\n77\n' * 12)
    count = 0
    try:
        while True:
            conn.wants_error('wrong-usage unknown-packet')
            count += 1
    except Ended:
        pass
    expect(10 <= count <= 19, f'closed after {count}')
    t.note(f'of wrong-usage and unknown-packet in turn, the {count}th closes')


@check('errors: bad-key stays, as many as they are')
def _(t):
    conn = t.dial()
    for _ in range(25):
        conn.refused('bad-key', 0, 'ssh-ed25519 AAAA' + t.mark)
    conn.stays()


@check('errors: bad-token before a proof stays nine times and closes after ten', doors='tcp unix ws')
def _(t):
    conn = t.dial()
    for _ in range(9):
        conn.refused('bad-token', 4, t.mark)
        conn.stays()
    conn.refused('bad-token', 4, t.mark)
    conn.ends()


@check('errors: bad-token after a proof stays, as many as they are')
def _(t):
    conn, _, _ = t.joined()
    for _ in range(25):
        conn.refused('bad-token', 4, t.mark)
    conn.stays()


@check('errors: junk is answered by errors alone, and nothing comes back of it')
def _(t):
    for _ in range(30):
        with t.dial() as conn:
            conn.raw(os.urandom(3000) + t.mark.encode() + os.urandom(200) + b'\n7\n')
            try:
                heard = conn.hear()
                while heard[0] != '17':
                    expect(heard[0] == '99', f'junk was answered by {heard[0]}')
                    heard = conn.hear()
            except Ended:
                pass
    t.dial().stays()


@check('limits: a line of 8,192 bytes before TOKEN is taken, one of more is too-large', doors='tcp unix ws')
def _(t):
    line = t.person().line

    def auth(size):
        """An AUTH of so many bytes without its LF: the comment fills it."""
        packet = pack(0, line + ' ', 'sign')
        return pack(0, line + ' ' + 'x' * (size - len(packet)), 'sign')
    # Whether the LF counts is not said: 8,191 and the LF must be taken, 8,193 and the LF must not.
    conn = t.dial()
    conn.send(auth(8191))
    conn.wants(1)
    conn.stays()
    conn.send(auth(8193))
    conn.wants_error('too-large')
    conn.ends()
    edge = t.dial()
    edge.send(auth(8192))
    t.note('8,192 bytes and the LF are ' + ('taken' if edge.hear()[0] == '1' else 'too-large'))


@check('limits: a line without end is too-large before it ends', doors='tcp unix')
def _(t):
    conn = t.dial()
    conn.raw(b'0;' + t.mark.encode() + b'x' * 9000)
    conn.wants_error('too-large')
    conn.ends()
    conn = t.dial()
    conn.raw(b'7\n' + b'\r' * 9000)
    conn.wants(17)
    conn.wants_error('too-large')
    conn.ends()


@check('limits: what came before a line too large is answered first')
def _(t):
    conn = t.dial()
    conn.raw(b'7\n7\n' + b'8;asfaleia/1;' + b'y' * 10000 + b'\n7\n')
    conn.wants(17)
    conn.wants(17)
    conn.wants_error('too-large')
    conn.ends()


@check('limits: a payload of 32,768 characters is taken, one of more is too-large', doors='tcp unix ws')
def _(t):
    conn, key, token = t.joined()
    text = payload(32768)
    conn.answered(13, 3, token, key.line, text)
    conn.answered(14, 4, token)
    expect(conn.wants(20)[1] == text, 'the payload came back changed')
    conn.refused('too-large', 3, token, key.line, payload(32772))
    conn.ends()
    again, _, token = t.joined(key)
    expect(again.answered(14, 4, token) == ['0', '0'], 'what was too large was stored')


@check('limits: after TOKEN a line of the payload limit and 4,096 bytes is taken, one of more is too-large')
def _(t):
    conn, _, token = t.joined()
    text = payload(32768)
    receiver = Ed25519().line

    def send(size):
        empty = pack(3, token, receiver + ' ', text)
        return pack(3, token, receiver + ' ' + 'x' * (size - len(empty)), text)
    conn.send(send(32768 + 4095))
    conn.wants(13)
    conn.send(send(32768 + 4097))
    conn.wants_error('too-large')
    conn.ends()
    conn, _, token = t.joined()
    conn.raw(b'3;' + token.encode() + b';' + b'z' * 40000)
    conn.wants_error('too-large')
    conn.ends()


@check('limits: the biggest key that section 3 takes fits where a key stands')
def _(t):
    modulus = int.from_bytes(b'\xc0' + os.urandom(1023), 'big') | 1
    line = line_of('ssh-rsa', rsa_blob(65537, modulus))
    conn, _, token = t.joined()
    conn.answered(1, 0, line, 'sign')
    conn.answered(1, 0, line)
    conn.answered(13, 3, token, line, payload(32768))


@check('limits: a token from another connection and a line over 8,192 bytes')
def _(t):
    _, key, token = t.joined()
    other = t.dial()
    other.answered(14, 4, token)
    heard = other.ask(3, token, key.line, payload(32768))
    expect(heard[0] == '13' or heard[:2] == ['99', 'too-large'], f'came {shown(";".join(heard))}')
    t.note('on a connection that proved no key itself a line over 8,192 bytes is '
           + ('taken once a token was' if heard[0] == '13' else 'too-large'))
