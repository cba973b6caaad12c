"""Many connections, floods and slow readers, beside people who exchange messages; and, behind --slow, the clock."""
import socket
import time

from check import check, expect, payload, shown
from connection import Ended, Failure, open_tcp, pack
from key import b64, sshsig


def _exchange(conn, key, token, rounds=20):
    for _ in range(rounds):
        text = payload(1024)
        conn.answered(13, 3, token, key.line, text)
        conn.answered(14, 4, token)
        expect(conn.wants(20)[1] == text, 'not what was sent')


def _narrow(conn):
    """A small receive buffer: what is not read soon stops the relay's writes. Less than a loopback segment would stall it."""
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131072)


def _crowd(t, count):
    opened = []
    for _ in range(count):
        opened.append(t.keep(open_tcp(t.options.tcp)))
    return opened


@check('load: 500 idle connections, while others exchange messages')
def _(t):
    conn, key, token = t.joined()
    crowd = _crowd(t, 500)
    _exchange(conn, key, token)
    later, other, theirs = t.joined()
    _exchange(later, other, theirs)
    for idle in crowd[::50]:
        idle.stays()


@check('load: one key has 16 connections, the newest', needs='defaults')
def _(t):
    first, key, token = t.joined()
    others = [t.dial() for _ in range(16)]
    for conn in others:
        conn.answered(14, 4, token)
    first.ends()
    for conn in others:
        conn.stays()


@check('load: 300 connections in the middle of a line, while others exchange messages')
def _(t):
    conn, key, token = t.joined()
    crowd = _crowd(t, 300)
    for half in crowd:
        half.raw(b'0;' + b'x' * 8000)
    _exchange(conn, key, token)
    later, other, theirs = t.joined()
    _exchange(later, other, theirs)
    crowd[0].raw(b'\n')
    crowd[0].wants_error('bad-key wrong-usage')


@check('load: challenges by the hundred that nobody answers')
def _(t):
    conn, key, token = t.joined()
    flood = t.dial()
    line = t.person().line
    flood.raw(b''.join(pack(0, line) + b'\n' for _ in range(300)))
    _exchange(conn, key, token, 5)
    codes = {}
    try:
        for _ in range(300):
            heard = flood.hear()
            told = heard[0] if heard[0] != '99' else heard[1]
            expect(told != 'rate-limited' or len(heard) > 3 and heard[3].isdigit(), 'rate-limited without the seconds')
            codes[told] = codes.get(told, 0) + 1
        flood.stays()
    except Ended:
        codes['closed'] = 1
    expect(set(codes) <= {'1', 'rate-limited', 'closed'}, f'came {codes}')
    t.note('to 300 AUTHs in one write came ' + ', '.join(f'{n} × {told}' for told, n in codes.items()))
    later, other, theirs = t.joined()
    _exchange(later, other, theirs, 5)


@check('load: a subscriber that stops reading hurts nobody, and loses nothing')
def _(t):
    sender, _, token = t.joined()
    key = t.person()
    slow = t.dial()
    _narrow(slow)
    theirs = t.login(slow, key)
    slow.say(6, theirs)
    beside, other, pass_ = t.joined()
    sent = []
    for n in range(200):
        text = payload(32768)
        heard = sender.ask(3, token, key.line, text)
        if heard[0] == '13':
            sent.append(text)
        else:
            expect(heard[:2] == ['99', 'mailbox-full'], f'came {shown(heard)}')
        if n % 20 == 0:
            _exchange(beside, other, pass_, 2)
    expect(len(sent) >= 128, f'only {len(sent)} were taken')
    got = []
    try:
        slow.wants(16)
        erased = 0
        while len(got) < len(sent) or erased < len(sent):
            heard = slow.hear()
            if heard[0] == '15':
                erased += int(heard[1])
            else:
                id_, text = slow.wants(20, heard)
                got.append(text)
                slow.say(5, theirs, id_)
    except Ended:
        t.note('the slow reader was cut off')
        rest = t.dial()
        del got[:]
        while len(got) < len(sent):
            count, _ = rest.answered(14, 4, theirs)
            got += [rest.wants(20)[1] for _ in range(int(count))]
    expect(got == sent, 'not all came, in order')


@check('load: readers that stop in the middle of a GET hurt nobody')
def _(t):
    sender, _, token = t.joined()
    beside, other, pass_ = t.joined()
    readers = []
    for _ in range(20):
        key = t.person()
        reader = t.dial()
        _narrow(reader)
        theirs = t.login(reader, key)
        texts = [payload(32768) for _ in range(20)]
        for text in texts:
            sender.answered(13, 3, token, key.line, text)
        reader.say(4, theirs, 'lease')
        readers.append((reader, theirs, texts))
    _exchange(beside, other, pass_)
    for reader, theirs, texts in readers:
        try:
            reader.wants(14)
            expect([reader.wants(20)[1] for _ in texts] == texts, 'not what was sent')
        except Ended:
            t.note('a slow reader was cut off')


@check('load: pings without end, their answers unread, hurt nobody')
def _(t):
    beside, other, pass_ = t.joined()
    flood = t.dial()
    _narrow(flood)
    flood.sock.setblocking(False)
    pushed = 0
    try:
        # Until the relay stops reading: eight megabytes at the most.
        while pushed < 8 << 20:
            pushed += flood.sock.send(b'7\n' * 4096)
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        pass
    _exchange(beside, other, pass_)
    t.note(f'of pings whose answers nobody reads the relay and the kernels took {pushed >> 10} KiB at first')


# --- a relay of short times, and one of little memory

@check('expiry: a token and a message end when the relay said they would', needs='brief')
def _(t):
    conn, key, _ = t.joined()
    begun = time.monotonic()
    token, seconds = t.sign_in(conn, key)
    expect(seconds == 60, f'a token of {seconds} s')
    _, held = conn.answered(13, 3, token, key.line, payload())
    expect(held == '60', f'held for {held} s')
    # By the connection that proved the token, and has seen it good.
    conn.answered(14, 4, token, 'lease')
    conn.wants(20)
    time.sleep(57)
    expect(conn.answered(14, 4, token) == ['0', '0'], 'a leased message was shown again')
    time.sleep(begun + 61.5 - time.monotonic())
    conn.refused('bad-token', 4, token)
    t.dial().refused('bad-token', 4, token)
    conn.close()
    again, _, token = t.joined(key)
    expect(again.answered(14, 4, token) == ['0', '0'], 'the message is still there')


@check('memory: relay-full refuses what is new and drops nothing that was taken', needs='small')
def _(t):
    sender, _, token = t.joined()
    people = [t.person() for _ in range(6)]
    sent = {key.line: [] for key in people}
    refused = 0
    for n in range(120):
        key = people[n % 6]
        text = payload(32768)
        heard = sender.ask(3, token, key.line, text)
        if heard[0] == '13':
            sent[key.line].append(text)
        else:
            sender.wants_error('relay-full', heard)
            refused += 1
    expect(refused > 0, '3.75 MiB were taken')
    expect(sum(map(len, sent.values())) > 20, 'nearly nothing was taken')
    sender.stays()
    for key in people:
        conn, _, theirs = t.joined(key)
        got, waiting = [], 1
        while waiting:
            count, waiting = map(int, conn.answered(14, 4, theirs))
            got += [conn.wants(20)[1] for _ in range(count)]
        expect(got == sent[key.line], 'a message that was taken is gone, or changed')
    sender.answered(13, 3, token, people[0].line, payload(32768))


# --- the clock of section 6

def _times_out(conn, least, most):
    begun = time.monotonic()
    conn.wants_error('timeout', conn.hear(most + 5))
    took = time.monotonic() - begun
    expect(least - 1 <= took <= most + 2, f'after {took:.1f} s')
    conn.ends()


@check('slow: 30 s until the first packet', slow=True)
def _(t):
    _times_out(t.dial(), 30, 30)


@check('slow: a byte now and then is no packet', slow=True)
def _(t):
    conn = t.dial()
    begun = time.monotonic()
    while True:
        conn.raw(b'x')
        try:
            heard = conn.hear(2)
            break
        except Ended:
            raise
        except Failure:
            expect(time.monotonic() - begun < 35, 'still open')
    conn.wants_error('timeout', heard)
    expect(time.monotonic() - begun > 28, 'too early')


@check('slow: 120 s until a TOKEN, whatever else is said', slow=True)
def _(t):
    conn = t.dial()
    begun = time.monotonic()
    while True:
        conn.say(7)
        heard = conn.hear()
        if heard != ['17']:
            break
        time.sleep(1)
        expect(time.monotonic() - begun < 126, 'still open')
    conn.wants_error('timeout', heard)
    expect(time.monotonic() - begun > 118, 'too early')


@check('slow: a handle is good for 60 seconds', slow=True)
def _(t):
    conn, _, _ = t.joined()
    early, late = t.person(), t.person()
    one, text_one = t.challenge(conn, early.line, 'sign')
    two, text_two = t.challenge(conn, late.line, 'sign')
    time.sleep(57)
    conn.answered(12, 2, one, b64(sshsig(early, text_one)))
    time.sleep(5)
    conn.refused('auth-failed', 2, two, b64(sshsig(late, text_two)))


@check('slow: 15 min of silence', slow=True)
def _(t):
    conn, _, _ = t.joined()
    _times_out(conn, 900, 900)
