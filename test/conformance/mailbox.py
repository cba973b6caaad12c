"""Section 4: what is held, for whom, in which order, and when it is gone."""
import os
import random
import socket
import struct
import subprocess
import time

from check import check, expect, payload, shown
from connection import PATIENCE
from key import P256, SkEd25519, fingerprint


def _post(conn, token, receiver, count, size=32):
    """Sends so many messages in one write. @returns their payloads and ids."""
    texts = [payload(size) for _ in range(count)]
    conn.raw(''.join(f'3;{token};{receiver};{text}\n' for text in texts).encode())
    return texts, [conn.wants(13)[0] for _ in texts]


def _get(conn, token, *more):
    """One GET. @returns the messages as (id, payload), and how many still wait."""
    count, waiting = conn.answered(14, 4, token, *more)
    return [tuple(conn.wants(20)) for _ in range(int(count))], int(waiting)


def _get_all(conn, token, *more):
    messages, waiting = _get(conn, token, *more)
    while waiting:
        batch, waiting = _get(conn, token, *more)
        expect(len(batch) > 0, f'an empty batch while {waiting} wait')
        messages += batch
    return messages


def _until(run, why):
    """Repeats until it is true: for what another connection's end brings about."""
    until = time.monotonic() + PATIENCE
    while not run():
        expect(time.monotonic() < until, why)


def _texts(messages):
    return [text for _, text in messages]


def _once_back(t, token, wanted):
    """The payloads that wait, once they are as many as wanted: each look is a lease that ends with its connection."""
    found = []

    def look():
        with t.dial() as conn:
            found[:] = _texts(_get(conn, token, 'lease')[0])
        return len(found) >= len(wanted)
    _until(look, f'{len(wanted)} messages did not come back')
    return found


@check('mailbox: a message is delivered as it was sent, once', doors='tcp unix ws')
def _(t):
    alice, _, token = t.joined()
    bob, key, bobs = t.joined()
    text = payload(1024)
    id_, seconds = alice.answered(13, 3, token, key.line, text)
    expect(int(seconds) == 7 * 24 * 3600 or t.options.lenient, f'held for {seconds} s')
    messages, waiting = _get(bob, bobs)
    expect(_texts(messages) == [text] and waiting == 0, f'came {shown(messages)}')
    if messages[0][0] != id_:
        t.note('MESSAGE\'s id is not SENT\'s')
    expect(_get(bob, bobs) == ([], 0), 'it came again')


@check('mailbox: a GET of nothing is 14;0;0')
def _(t):
    conn, _, token = t.joined()
    expect(_get(conn, token) == ([], 0) and _get(conn, token, 'lease') == ([], 0), 'something was there')


@check('mailbox: receivers that never came have a mailbox already')
def _(t):
    conn, _, token = t.joined()
    key = t.person()
    texts, _ = _post(conn, token, key.line, 3)
    later, _, theirs = t.joined(key)
    expect(_texts(_get_all(later, theirs)) == texts, 'not what was sent')


@check('mailbox: by the key, with a comment and by the fingerprint it is one mailbox')
def _(t):
    conn, _, token = t.joined()
    for key in (t.person(), P256(), SkEd25519(), t.keys.get('rsa', 3072), t.keys.get('ecdsa', 521)):
        texts = []
        for receiver in (key.line, key.line + ' someone', fingerprint(key.blob), key.line):
            texts += _post(conn, token, receiver, 1)[0]
        if not hasattr(key, 'path'):
            _, _, theirs = t.joined(key)
            expect(_texts(_get_all(conn, theirs)) == texts, f'{key.kind}: not what was sent')


@check('mailbox: a fingerprint is what ssh-keygen -l prints')
def _(t):
    key = t.keys.get('ed25519')
    printed = subprocess.run(['ssh-keygen', '-l',
        '-f', key.path + '.pub'], stdout=subprocess.PIPE, check=True).stdout.decode().split()[1]
    conn, _, token = t.joined()
    text = payload()
    conn.answered(13, 3, token, printed, text)
    handle, challenge = t.challenge(conn, key.line)
    theirs, _ = conn.answered(12, 2, handle, key.decrypt(challenge))
    expect(text in _texts(_get_all(conn, theirs)), 'not in the mailbox of the key')


@check('mailbox: payloads of the whole alphabet and of every length')
def _(t):
    conn, key, token = t.joined()
    alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
    texts = [alphabet, 'AA==', 'AAA=', 'AAAA', '++++', '////', 'A' * 4096, *(payload(4 * n) for n in range(1, 40))]
    for text in texts:
        conn.answered(13, 3, token, key.line, text)
    expect(_texts(_get_all(conn, token)) == texts, 'a payload came back changed')


@check('mailbox: payloads that are not padded base64 are wrong-usage')
def _(t):
    rows = [(shown(p), p) for p in (
        'A', 'AA', 'AAA', 'AAAAA', 'AA=', 'AAA==', 'A===', '====', '=', '==', 'AAAA=', 'AAAA====', 'AA==AAAA', 'A=AA',
        '=AAA', 'AAA=AAA=',
        'AA-A', 'AA_A', 'AA A', ' AAAA', 'AAAA ', 'AA.A', 'AA*A', 'AAA\t', 'ÄÄ', b'\xff\xff\xff\xff', b'AA\xc3\xa4',
        'AAAA,AAA', '@AAA', '[AAA', '`AAA', '{AAA',
        ':AAA', t.mark + '*')]

    def refuse(text):
        conn.refused('wrong-usage', 3, token, key.line, text)
    for start in range(0, len(rows), 9):
        conn, key, token = t.joined()
        t.every(rows[start:start + 9], refuse)
        expect(_get(conn, token) == ([], 0), 'a refused payload was stored')


@check('mailbox: payloads where the text leaves it open come back as they were, or are wrong-usage')
def _(t):
    conn, key, token = t.joined()
    for text, what in (('', 'an empty payload'), ('AB==', 'a payload with bits after its end')):
        heard = conn.ask(3, token, key.line, text)
        expect(heard[0] == '13' or heard[:2] == ['99', 'wrong-usage'], shown(heard))
        expect(_texts(_get(conn, token)[0]) == ([text] if heard[0] == '13' else []), 'not what was sent')
        t.note(f'{what} is ' + ('taken' if heard[0] == '13' else heard[1]))


@check('mailbox: the order of arrival, from one and from several senders', doors='tcp ws')
def _(t):
    key = t.person()
    senders = [t.joined() for _ in range(3)]
    texts = []
    for _ in range(10):
        for conn, _, token in senders:
            texts += _post(conn, token, fingerprint(key.blob),
                2 if len(texts) % 3 else 1)[0] if t.door != 'ws' else _one(conn, token, key)
    conn, _, token = t.joined(key)
    expect(_texts(_get_all(conn, token)) == texts, 'another order')


def _one(conn, token, key):
    text = payload()
    conn.answered(13, 3, token, key.line, text)
    return [text]


@check('mailbox: message ids are random and never twice')
def _(t):
    conn, key, token = t.joined()
    _, ids = _post(conn, token, key.line, 60)
    _, more = _post(conn, token, t.person().line, 60)
    expect(len(set(ids + more)) == 120, 'an id twice')
    t.note(f'a message id has {len(ids[0])} characters')


@check('mailbox: 128 messages, then mailbox-full; room again as they are taken')
def _(t):
    sender, _, token = t.joined()
    conn, key, theirs = t.joined()
    texts, _ = _post(sender, token, key.line, 128)
    for _ in range(3):
        sender.refused('mailbox-full', 3, token, key.line, payload())
    sender.stays()
    other = t.person()
    sender.answered(13, 3, token, other.line, payload())
    leased, waiting = _get(conn, theirs, 'lease')
    expect(_texts(leased) == texts and waiting == 0, 'not the 128 that were sent')
    expect(conn.answered(15, 5, theirs, leased[0][0], leased[5][0]) == ['2'], 'not acknowledged')
    more = [payload(), payload()]
    for text in more:
        sender.answered(13, 3, token, key.line, text)
    sender.refused('mailbox-full', 3, token, key.line, payload())
    conn.answered(15, 5, theirs, *(id_ for id_, _ in leased[1:]))
    expect(_texts(_get(conn, theirs)[0]) == more, 'not what was sent after')
    _post(sender, token, key.line, 128)
    sender.refused('mailbox-full', 3, token, key.line, payload())
    expect(conn.answered(19, 9, theirs) == ['128'], 'not all wiped')
    sender.answered(13, 3, token, key.line, payload())


@check('get: a batch is bounded in bytes, and says how many still wait')
def _(t):
    sender, _, token = t.joined()
    conn, key, theirs = t.joined()
    texts = []
    for _ in range(8):
        texts += _post(sender, token, key.line, 10, 32768)[0]
    got = []
    while len(got) < 80:
        batch, waiting = _get(conn, theirs, *(['lease'] if len(got) < 40 else []))
        expect(0 < sum(len(text) for _, text in batch) <= 1 << 20, f'a batch of {len(batch)}')
        got += batch
        expect(waiting == 80 - len(got), f'14 says that {waiting} wait, {80 - len(got)} do')
    expect(_texts(got) == texts, 'another order')


@check('get: leased messages are hidden from others until they are acknowledged', doors='tcp ws')
def _(t):
    conn, key, token = t.joined()
    texts = sum((_one(conn, token, key) for _ in range(3)), [])
    leased, waiting = _get(conn, token, 'lease')
    expect(_texts(leased) == texts and waiting == 0, 'not what was sent')
    other = t.dial()
    expect(_get(other, token) == ([], 0) and _get(other, token, 'lease') == ([], 0),
        'a leased message was shown to another')
    new = _one(conn, token, key)
    expect(_texts(_get(other, token)[0]) == new, 'a new message waits behind the leased')
    expect(conn.answered(15, 5, token, *(id_ for id_, _ in leased)) == ['3'], 'not acknowledged')
    conn.close()
    other.stays()
    expect(_get(other, token, 'lease') == ([], 0), 'acknowledged messages came back')


@check('get: leased messages wait again when the connection ends, at their old place', doors='tcp unix ws')
def _(t):
    beside, key, token = t.joined()
    holder = t.dial()
    texts = sum((_one(beside, token, key) for _ in range(5)), [])
    leased, _ = _get(holder, token, 'lease')
    expect(_texts(leased) == texts, 'not what was sent')
    expect(holder.answered(15, 5, token, leased[1][0], leased[3][0]) == ['2'], 'not acknowledged')
    texts += sum((_one(beside, token, key) for _ in range(2)), [])
    holder.close()
    wanted = [texts[i] for i in (0, 2, 4, 5, 6)]
    expect(_once_back(t, token, wanted) == wanted, 'not the messages that were not acknowledged, in order')


@check('get: what comes back stands before what came later')
def _(t):
    sender, _, token = t.joined()
    conn, key, theirs = t.joined()
    old, _ = _post(sender, token, key.line, 4)
    expect(_texts(_get(conn, theirs, 'lease')[0]) == old, 'not what was sent')
    new, _ = _post(sender, token, key.line, 3)
    conn.close()
    expect(_once_back(t, theirs, old + new) == old + new, 'another order')


@check('get: a plain GET erases what it delivered, a leased one keeps it')
def _(t):
    conn, key, token = t.joined()
    _post(conn, token, key.line, 3)
    expect(len(_get(conn, token)[0]) == 3, 'not three')
    conn.close()
    again = t.dial()
    again.stays()
    expect(_get(again, token) == ([], 0), 'delivered messages came back')


@check('get: GETs in one write give each message once')
def _(t):
    conn, key, token = t.joined()
    texts, _ = _post(conn, token, key.line, 20)
    conn.raw(f'4;{token}\n4;{token};lease\n4;{token}\n7\n'.encode())
    got = []
    for _ in range(3):
        count, _ = conn.wants(14)
        got += [conn.wants(20)[1] for _ in range(int(count))]
    conn.wants(17)
    expect(got == texts, 'not each once, in order')


@check('ack: is idempotent, and counts only what it erased', doors='tcp ws')
def _(t):
    conn, key, token = t.joined()
    for _ in range(4):
        _one(conn, token, key)
    leased, _ = _get(conn, token, 'lease')
    ids = [id_ for id_, _ in leased]
    expect(conn.answered(15, 5, token, ids[0]) == ['1'], 'not one')
    expect(conn.answered(15, 5, token, ids[0]) == ['0'], 'the same again was counted')
    expect(conn.answered(15, 5, token, ids[0], ids[1], ids[1], ids[2]) == ['2'], 'one twice was counted twice')
    expect(conn.answered(15, 5, token, ids[3]) == ['1'], 'not one')
    expect(conn.answered(15, 5, token, *ids) == ['0'], 'all again were counted')


@check('ack: many ids in one packet')
def _(t):
    conn, key, token = t.joined()
    _post(conn, token, key.line, 128)
    leased, _ = _get(conn, token, 'lease')
    expect(conn.answered(15, 5, token, *(id_ for id_, _ in leased)) == [str(len(leased))], 'not all')


@check('ack: ids that are unknown or of no form are counted out')
def _(t):
    conn, key, token = t.joined()
    _one(conn, token, key)
    leased, _ = _get(conn, token, 'lease')
    id_ = leased[0][0]
    changed = id_[:-1] + ('0' if id_[-1] != '0' else '1')
    expect(conn.answered(15, 5, token, changed) == ['0'], 'an unknown id was counted')
    for other in ('1', '0', 'x', t.mark, id_ + '0', id_[:-1], id_.upper() + 'Z', '__proto__', '-1', '*', ''):
        heard = conn.ask(5, token, other)
        expect(heard == ['15', '0'] or heard[:2] == ['99', 'wrong-usage'], f'to an id {shown(other)} came {shown(heard)}')
        if heard[0] == '99':
            t.note(f'an id of another form is {heard[1]}')
            conn, _, token = t.joined(key)


@check('ack: nobody erases another\'s messages')
def _(t):
    alice, a, token = t.joined()
    bob, b, bobs = t.joined()
    text = payload()
    sent, _ = alice.answered(13, 3, token, b.line, text)
    expect(alice.answered(15, 5, token, sent) == ['0'], 'the sender erased it')
    leased, _ = _get(bob, bobs, 'lease')
    expect(alice.answered(15, 5, token, leased[0][0]) == ['0'], 'another erased it')
    expect(alice.answered(19, 9, token) == ['0'], 'another wiped it')
    bob.close()
    expect(_once_back(t, bobs, [text]) == [text], 'it is gone')


@check('ack: by another connection of the same mailbox')
def _(t):
    conn, key, token = t.joined()
    _one(conn, token, key)
    leased, _ = _get(conn, token, 'lease')
    other = t.dial()
    count, = other.answered(15, 5, token, leased[0][0])
    expect(count in ('0', '1'), f'{count} erased')
    t.note('an ACK by another connection of the mailbox ' + ('erases' if count == '1' else 'is counted out'))
    sent, _ = conn.answered(13, 3, token, key.line, payload())
    count, = conn.answered(15, 5, token, sent)
    t.note('an ACK of a message that still waits ' + ('erases' if count == '1' else 'is counted out'))


@check('subscribe: what waits, then what comes', doors='tcp unix ws')
def _(t):
    sender, _, token = t.joined()
    conn, key, theirs = t.joined()
    texts = sum((_one(sender, token, key) for _ in range(3)), [])
    expect(conn.answered(16, 6, theirs) == ['3'], 'another count')
    got = [conn.wants(20) for _ in range(3)]
    for _ in range(3):
        texts += _one(sender, token, key)
        got.append(conn.wants(20))
    expect(_texts(got) == texts, 'not what was sent')
    expect(conn.answered(15, 5, theirs, *(id_ for id_, _ in got)) == ['6'], 'not acknowledged')
    conn.stays()
    other = t.dial()
    expect(_get(other, theirs) == ([], 0), 'something is left')


@check('subscribe: of an empty mailbox, and of one\'s own messages')
def _(t):
    conn, key, token = t.joined()
    expect(conn.answered(16, 6, token) == ['0'], 'something waits')
    text = payload()
    conn.say(3, token, key.line, text)
    heard = sorted((conn.hear() for _ in range(2)), key=lambda fields: fields[0])
    expect([fields[0] for fields in heard] == ['13', '20'] and heard[1][2] == text, f'came {shown(heard)}')


@check('subscribe: 64 unacknowledged at most, and more as they are acknowledged', doors='tcp ws')
def _(t):
    sender, _, token = t.joined()
    conn, key, theirs = t.joined()
    texts = sum((_one(sender, token, key) for _ in range(100)), [])
    expect(conn.answered(16, 6, theirs) == ['100'], 'another count')
    got = [conn.wants(20) for _ in range(64)]
    conn.stays()
    texts += _one(sender, token, key)
    conn.stays()
    conn.say(5, theirs, *(id_ for id_, _ in got[10:13]))
    heard = [conn.hear() for _ in range(4)]
    expect(['15', '3'] in heard, 'not acknowledged')
    got += [fields[1:] for fields in heard if fields[0] == '20']
    expect(len(got) == 67, 'not as many as were acknowledged')
    conn.stays()
    done = {id_ for id_, _ in got[10:13]}
    while len(got) < 101:
        open_ = [id_ for id_, _ in got if id_ not in done][:20]
        conn.say(5, theirs, *open_)
        done.update(open_)
        more = min(len(open_), 101 - len(got))
        heard = [conn.hear() for _ in range(more + 1)]
        expect(['15', str(len(open_))] in heard, 'not acknowledged')
        got += [fields[1:] for fields in heard if fields[0] == '20']
    expect(_texts(got) == texts, 'another order')
    conn.stays()


@check('subscribe: what is not acknowledged waits again when the connection ends', doors='tcp unix ws')
def _(t):
    sender, _, token = t.joined()
    conn, key, theirs = t.joined()
    texts = sum((_one(sender, token, key) for _ in range(6)), [])
    conn.answered(16, 6, theirs)
    got = [conn.wants(20) for _ in range(6)]
    expect(conn.answered(15, 5, theirs, got[0][0], got[3][0]) == ['2'], 'not acknowledged')
    conn.close()
    wanted = [texts[i] for i in (1, 2, 4, 5)]
    expect(_once_back(t, theirs, wanted) == wanted, 'not what was unacknowledged, in order')


@check('subscribe: a connection cut without a word gives its messages back')
def _(t):
    sender, _, token = t.joined()
    conn, key, theirs = t.joined()
    texts = sum((_one(sender, token, key) for _ in range(4)), [])
    conn.answered(16, 6, theirs)
    # SO_LINGER of 0: the close sends RST, with what the relay wrote still unread.
    conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    conn.close()
    expect(_once_back(t, theirs, texts) == texts, 'not all came back')


@check('subscribe: the newest has the mailbox, the older is told taken-over', doors='tcp ws')
def _(t):
    sender, _, token = t.joined()
    older, key, theirs = t.joined()
    older.answered(16, 6, theirs)
    newer = t.dial()
    newer.answered(16, 6, theirs)
    expect(older.hear()[:2] == ['98', 'taken-over'], 'the older was not told')
    texts = sum((_one(sender, token, key) for _ in range(3)), [])
    expect([newer.wants(20)[1] for _ in range(3)] == texts, 'the newer has not all')
    older.stays()
    older.answered(16, 6, theirs)
    expect(newer.hear()[:2] == ['98', 'taken-over'], 'the newer was not told when the older came again')


@check('subscribe: what the older holds at a takeover is not lost')
def _(t):
    sender, _, token = t.joined()
    older, key, theirs = t.joined()
    texts = sum((_one(sender, token, key) for _ in range(3)), [])
    older.answered(16, 6, theirs)
    held = [older.wants(20) for _ in range(3)]
    newer = t.dial()
    count, = newer.answered(16, 6, theirs)
    t.note('at a takeover what the older holds ' + ('waits for the newer' if count == '3' else 'stays the older\'s until it ends'))
    expect(older.hear()[:2] == ['98', 'taken-over'], 'the older was not told')
    older.close()
    got = [newer.wants(20) for _ in range(3)]
    expect(_texts(got) == texts, 'not all came, in order')
    expect(len(held) == 3 and newer.answered(15, 5, theirs, *(id_ for id_, _ in got)) == ['3'], 'not acknowledged')


@check('subscribe: never inside a GET\'s batch')
def _(t):
    sender, _, pass_ = t.joined()
    conn, key, token = t.joined()
    other = t.person()
    theirs = t.login(conn, other)
    conn.answered(16, 6, token)
    for _ in range(20):
        inside = set(_post(sender, pass_, other.line, 10)[0])
        conn.say(4, theirs)
        outside = set(_post(sender, pass_, key.line, 2)[0])
        came, batch, to_ack = 0, None, []
        while batch is None or batch or outside:
            heard = conn.hear()
            if heard[0] == '14':
                expect(heard[1] == '10', 'another count')
                batch, came = inside, 10
            elif came:
                expect(heard[0] == '20' and heard[2] in inside, 'an unasked packet inside a batch')
                inside.discard(heard[2])
                came -= 1
            else:
                expect(heard[0] == '20' and heard[2] in outside, f'came {shown(heard)}')
                outside.discard(heard[2])
                to_ack.append(heard[1])
        expect(conn.answered(15, 5, token, *to_ack) == ['2'], 'not acknowledged')


@check('subscribe: again on the same connection')
def _(t):
    conn, key, token = t.joined()
    conn.answered(16, 6, token)
    conn.say(6, token)
    heard = conn.hear()
    if heard[0] == '98':
        t.note('SUBSCRIBE again on the same connection brings 98;' + heard[1])
        heard = conn.hear()
    expect(heard[0] == '16', f'came {shown(heard)}')
    text = _one_own(conn, token, key)
    expect(text, 'not delivered once')


def _one_own(conn, token, key):
    text = payload()
    conn.say(3, token, key.line, text)
    heard = [conn.hear() for _ in range(2)]
    conn.stays()
    return ['20', text] in [[fields[0], fields[-1]] for fields in heard]


@check('wipe: erases what waits and what is leased, of that mailbox alone', doors='tcp ws')
def _(t):
    conn, key, token = t.joined()
    other, theirs_key, theirs = t.joined()
    holder = t.dial()
    for _ in range(2):
        _one(conn, token, key)
    leased, _ = _get(holder, token, 'lease')
    for _ in range(3):
        _one(conn, token, key)
    kept = _one(conn, token, theirs_key)
    expect(conn.answered(19, 9, token) == ['5'], 'not all five were erased')
    expect(conn.answered(19, 9, token) == ['0'], 'erased again')
    expect(_get(conn, token) == ([], 0), 'something is left')
    expect(holder.answered(15, 5, token, leased[0][0]) == ['0'], 'a wiped message was acknowledged')
    holder.close()
    conn.stays()
    with t.dial() as barrier:
        barrier.stays()
    expect(_get(conn, token) == ([], 0), 'a leased message survived WIPE')
    expect(_texts(_get(other, theirs)[0]) == kept, 'another\'s message is gone')


@check('wipe: under a subscription leaves it standing')
def _(t):
    conn, key, token = t.joined()
    sender, _, pass_ = t.joined()
    _post(sender, pass_, key.line, 100)
    conn.answered(16, 6, token)
    for _ in range(64):
        conn.wants(20)
    expect(conn.answered(19, 9, token) == ['100'], 'not all were erased')
    text = _one(sender, pass_, key)
    expect([conn.wants(20)[1]] == text, 'the subscription ended, or its window did')


@check('mailbox: nothing of the sender is delivered')
def _(t):
    alice, a, token = t.joined()
    bob, b, bobs = t.joined()
    t.forbid(fingerprint(a.blob)[7:])
    t.forbid(a.line.split(' ')[1][-40:])
    bob.answered(16, 6, bobs)
    alice.answered(13, 3, token, b.line, payload())
    heard = bob.hear()
    expect(heard[0] == '20' and len(heard) == 3, f'came {shown(heard)}')


@check('mailbox: random commands of several connections lose and double nothing')
def _(t):
    seed = int.from_bytes(os.urandom(4), 'big')
    dice = random.Random(seed)
    sender, _, token = t.joined()
    key = t.person()
    theirs = t.login(sender, key)
    waiting, held = [], {}
    opened = [t.dial() for _ in range(3)]
    for step in range(250):
        why = f'seed {seed}, step {step}: '
        which = dice.randrange(3)
        conn = opened[which]
        turn = dice.random()
        if turn < 0.45:
            if len(waiting) + sum(map(len, held.values())) < 120:
                waiting += list(zip(*reversed(_post(sender, token, key.line, dice.randrange(1, 5)))))
        elif turn < 0.6:
            got, _ = _get(conn, theirs, 'lease')
            expect(_texts(got) == _texts(waiting), why + 'GET;lease gave something else than what waits')
            held.setdefault(which, []).extend(got)
            waiting = []
        elif turn < 0.7:
            expect(_texts(_get(conn, theirs)[0]) == _texts(waiting), why + 'GET gave something else than what waits')
            waiting = []
        elif turn < 0.9:
            mine = held.get(which, [])
            some = dice.sample(mine, dice.randrange(len(mine) + 1))
            if some:
                expect(conn.answered(15, 5, theirs, *(id_ for id_, _ in some)) == [str(len(some))],
                    why + 'ACK counted wrong')
                held[which] = [message for message in mine if message not in some]
        else:
            expect(conn.answered(19, 9, theirs) == [str(len(waiting) + sum(map(len, held.values())))],
                why + 'WIPE counted wrong')
            waiting, held = [], {}
    rest = sorted(_texts(waiting) + [text for messages in held.values() for text in _texts(messages)])
    for conn in opened:
        conn.close()
    found = []
    last = t.dial()

    def look():
        found.extend(_texts(_get_all(last, theirs)))
        return len(found) >= len(rest)
    _until(look, f'seed {seed}: {len(rest) - len(found)} were lost')
    expect(sorted(found) == rest, f'seed {seed}: not what was left')
