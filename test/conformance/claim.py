"""Claims, labels, several subscriptions of a connection, and bundles: sections 3 and 4."""
import base64
import hashlib
import os
import string

from check import check, expect, payload, shown
from connection import Ended
from key import b64, sshsig
from mailbox import _get, _until

DAY = 24 * 3600


def secret():
    """@returns a secret as CLAIM shows it, and the receiver that others write to."""
    drawn = os.urandom(32)
    text = base64.urlsafe_b64encode(drawn).decode().rstrip('=')
    return text, 'SHA256:' + base64.b64encode(hashlib.sha256(drawn).digest()).decode().rstrip('=')


def claim(conn, label=None, text=None):
    """@returns the receiver of a secret, by default a new one, which the label stands for."""
    drawn, receiver = secret()
    conn.answered(12, 34, text or drawn, *([] if label is None else [label]))
    return receiver


def claimed(t, label=None):
    conn = t.dial()
    return conn, claim(conn, label)


def send(t, receiver, *texts):
    """Sends from a connection of its own, under a throwaway secret."""
    with t.dial() as conn:
        claim(conn)
        for text in texts:
            conn.answered(13, 3, '', receiver, text)


@check('claim: a secret is a mailbox, which others write to by its hash', doors='tcp unix ws')
def _(t):
    conn = t.dial()
    text, receiver = secret()
    t.forbid(text)
    _, seconds = conn.answered(12, 34, text)
    expect(int(seconds) == 3600 or t.options.lenient, f'a token for {seconds} s')
    sent = payload(400)
    send(t, receiver, sent)
    expect([m[1] for m in _get(conn, '', 'lease')[0]] == [sent], 'not what was sent')
    # The same secret on another connection is the same mailbox.
    conn.close()
    other = t.dial()
    claim(other, 'x', text)
    _until(lambda: [m[1] for m in _get(other, 'x', 'lease')[0]] == [sent], 'the message did not come back')


@check('claim: the token is good on every connection, and names the relay')
def _(t):
    conn = t.dial()
    text, receiver = secret()
    token, _ = conn.answered(12, 34, text)
    conn.answered(18, 8, 'asfaleia/1', t.name)
    other = t.dial()
    expect(_get(other, token) == ([], 0), 'not a good token')
    conn.answered(13, 3, token, receiver, payload())
    expect(len(_get(other, token)[0]) == 1, 'not the mailbox of the claim')


@check('claim: a secret of another form is wrong-usage')
def _(t):
    text, _ = secret()
    last = string.ascii_uppercase + string.ascii_lowercase + string.digits + '-_'
    rows = [('empty', ''), ('short', text[1:]), ('long', text + 'A'), ('padded', text + '='), ('with +', '+' + text[1:]),
        ('with /', '/' + text[1:]), ('of base64', base64.b64encode(b'\xff' * 32).decode()), ('with a space', ' ' + text[1:]),
        ('a high byte', b'\xff' + text[1:].encode())]
    rows += [(f'ending in {c}', text[:-1] + c) for c in last if c not in 'AEIMQUYcgkosw048']

    def refuse(field):
        with t.dial() as conn:
            conn.refused('wrong-usage', 34, field)
            conn.stays()
    t.every(rows, refuse)
    with t.dial() as conn:
        for c in 'AEIMQUYcgkosw048':
            conn.answered(12, 34, text[:-1] + c)


@check('claim: fields missing or too many, and labels of another form')
def _(t):
    text, _ = secret()
    with t.dial() as conn:
        conn.refused('wrong-usage', 34)
        conn.refused('wrong-usage', 34, text, 'a', 'b')
        for label in ('A', 'a b', 'a_b', 'a.b.c', 'a' * 17):
            conn.refused('wrong-usage', 34, text, label)
        conn.answered(12, 34, text, 'a' * 16)
    with t.dial() as conn:
        for label in ('-', '0', 'a-0', ''):
            conn.answered(12, 34, text, label)


@check('label: stands for the token in every packet, on its connection alone', doors='tcp ws')
def _(t):
    conn, receiver = claimed(t, 'a')
    text = payload()
    conn.answered(13, 3, 'a', receiver, text)
    messages, _ = _get(conn, 'a', 'lease')
    expect([m[1] for m in messages] == [text], 'not what was sent')
    expect(conn.answered(15, 5, 'a', messages[0][0]) == ['1'], 'not erased')
    expect(conn.answered(16, 6, 'a') == ['0'], 'not empty')
    conn.answered(31, 30, 'a', payload())
    conn.answered(33, 32, 'a', receiver)
    conn.answered(19, 9, 'a')
    other, _, _ = t.joined()
    other.refused('bad-token', 4, 'a')
    other.refused('bad-token', 3, 'a', receiver, payload())


@check('label: of a key\'s proof')
def _(t):
    conn, key = t.dial(), t.person()
    handle, challenge = t.challenge(conn, key.line, 'sign')
    answer = b64(sshsig(key, t.text(challenge, handle)))
    conn.refused('wrong-usage', 2, handle, answer, 'A')
    conn.answered(12, 2, handle, answer, 'key')
    text = payload()
    conn.answered(13, 3, 'key', key.line, text)
    expect([m[1] for m in _get(conn, 'key')[0]] == [text], 'not the mailbox of the key')
    conn.refused('bad-token', 4, '')


@check('label: the empty one is the last proof without a label, and WIPE and PUBLISH do not take it')
def _(t):
    conn, key, token = t.joined()
    expect(_get(conn, '') == ([], 0), 'the empty label is not the key')
    receiver = claim(conn)
    text = payload()
    conn.answered(13, 3, '', receiver, text)
    conn.refused('bad-token', 9, '')
    conn.refused('bad-token', 30, '')
    conn.refused('bad-token', 30, '', payload())
    expect([m[1] for m in _get(conn, '')[0]] == [text], 'the empty label is not the claim')


@check('label: a refused CLAIM leaves nothing, so a SEND behind it does not leave under the older proof')
def _(t):
    text, _ = secret()
    target, key, token = t.joined()
    conn, _ = claimed(t, 'a')
    claim(conn, '')
    for label in ('a', ''):
        for packet in ('34;nothing;%s', '2;1;nothing;%s'):
            claim(conn, label)
            conn.raw(f'{packet % label}\n3;{label};{key.line};{payload()}\n'.encode())
            conn.wants_error('wrong-usage auth-failed')
            conn.wants_error('bad-token')
            if label == '':
                break
    expect(_get(target, token) == ([], 0), 'a message left under the older proof')


@check('label: 64 of a connection, beside the empty one; the limit is in WELCOME')
def _(t):
    conn = t.dial()
    limits = dict(field.split('=', 1) for field in conn.answered(18, 8, 'asfaleia/1')[1:])
    expect(limits.get('labels') == '64', f'labels={limits.get("labels")}')
    for number in range(64):
        claim(conn, f'l{number}')
    text, _ = secret()
    conn.refused('wrong-usage', 34, text, 'more')
    conn.answered(12, 34, text)
    conn.answered(12, 34, text, 'l7')
    conn.refused('wrong-usage', 34, 'nothing', 'l8')
    conn.answered(12, 34, text, 'more')


@check('subscribe: several labels beside each other, each told by its label', doors='tcp unix ws')
def _(t):
    conn = t.dial()
    receivers = {label: claim(conn, label) for label in ('a', 'b', '')}
    for label in receivers:
        expect(conn.answered(16, 6, label) == ['0'], 'not empty')
    texts = {label: payload() for label in receivers}
    for label, receiver in receivers.items():
        send(t, receiver, texts[label])
        heard = conn.hear()
        wanted = ['20', None, texts[label]] if label == '' else ['21', label, None, texts[label]]
        heard[-2] = None
        expect(heard == wanted, f'came {shown(heard)}')


@check('subscribe: a full window of one label does not hold up another')
def _(t):
    conn = t.dial()
    busy, quiet = claim(conn, 'busy'), claim(conn, 'quiet')
    conn.answered(16, 6, 'busy')
    conn.answered(16, 6, 'quiet')
    send(t, busy, *(payload() for _ in range(70)))
    ids = [conn.wants(21)[1] for _ in range(64)]
    conn.stays()
    text = payload()
    send(t, quiet, text)
    label, _, came = conn.wants(21)
    expect((label, came) == ('quiet', text), 'the other label waits')
    conn.say(5, 'busy', *ids)
    expect(conn.wants(15) == ['64'], 'not all erased')
    for _ in range(6):
        expect(conn.wants(21)[0] == 'busy', 'not the rest')


@check('subscribe: a label\'s end gives its messages back, and taken-over names the label', doors='tcp ws')
def _(t):
    conn = t.dial()
    text, receiver = secret()
    claim(conn, 'a', text)
    claim(conn, 'b')
    conn.answered(16, 6, 'a')
    conn.answered(16, 6, 'b')
    sent = payload()
    send(t, receiver, sent)
    conn.wants(21)
    conn.refused('wrong-usage', 34, 'nothing', 'a')
    other = t.dial()
    claim(other, 'x', text)
    expect(other.answered(16, 6, 'x') == ['1'], 'it does not wait again')
    expect(other.wants(21)[2] == sent, 'not what was sent')
    third = t.dial()
    claim(third, None, text)
    third.answered(16, 6, '')
    expect(other.wants(98) == ['taken-over', 'x'], 'not told of the takeover')
    expect(third.wants(20)[1] == sent, 'it did not move')
    conn.stays()


@check('subscribe: of one mailbox under a second label it moves there, and nothing comes twice')
def _(t):
    conn = t.dial()
    text, receiver = secret()
    claim(conn, 'a', text)
    claim(conn, 'b', text)
    conn.answered(16, 6, 'a')
    send(t, receiver, payload())
    id_ = conn.wants(21)[1]
    expect(conn.answered(16, 6, 'b') == ['0'], 'it waits again')
    conn.stays()
    send(t, receiver, payload())
    expect(conn.wants(21)[0] == 'b', 'not under the newer label')
    expect(conn.answered(15, 5, 'b', id_) == ['1'], 'the lease did not move')


@check('subscribe: without a label it outlives a renewed proof')
def _(t):
    conn, key, token = t.joined()
    conn.answered(16, 6, token)
    t.sign_in(conn, key)
    send(t, key.line, payload())
    conn.wants(20)
    conn.stays()


@check('bundle: published, replaced, taken down', doors='tcp unix ws')
def _(t):
    conn, key, token = t.joined()
    other = t.dial()
    claim(other)
    expect(other.answered(33, 32, '', key.line) == [], 'something was there')
    for size in (4, 8192):
        text = payload(size)
        (seconds,) = conn.answered(31, 30, token, text)
        expect(int(seconds) == 14 * DAY, f'held for {seconds} s')
        expect(other.answered(33, 32, '', key.line) == [text], 'not what was published')
    conn.answered(13, 3, token, key.line, payload())
    expect(conn.answered(31, 30, token) == ['0'], 'it is still held')
    expect(other.answered(33, 32, '', key.line) == [], 'it is still there')
    expect(len(_get(conn, token)[0]) == 1, 'a message went with the bundle')


@check('bundle: erased by WIPE, which counts messages only')
def _(t):
    conn, receiver = claimed(t, 'a')
    conn.answered(31, 30, 'a', payload())
    conn.answered(13, 3, 'a', receiver, payload())
    expect(conn.answered(19, 9, 'a') == ['1'], 'the bundle was counted')
    expect(conn.answered(33, 32, 'a', receiver) == [], 'it is still there')


@check('bundle: of another form is refused before the token is looked at')
def _(t):
    conn, _ = claimed(t, 'a')
    for text in ('', 'A', 'AAA', 'AA_A', '=AAA', 'AAAA;AAAA'):
        conn.refused('wrong-usage', 30, 'none', text)
    conn.refused('bad-token', 30, 'none', 'AAAA')
    for size in (8193, 8196, 30000):
        conn, _ = claimed(t, 'a')
        conn.refused('too-large', 30, 'a', 'A' * size)
        conn.ends()


@check('bundle: FETCH takes the receivers of SEND, and refuses the others')
def _(t):
    conn, key, token = t.joined()
    text = payload()
    conn.answered(31, 30, token, text)
    digest = base64.b64encode(hashlib.sha256(key.blob).digest()).decode().rstrip('=')
    for receiver in (key.line, key.line + ' comment', 'SHA256:' + digest):
        expect(conn.answered(33, 32, token, receiver) == [text], f'not found as {shown(receiver)}')
    for receiver in ('', 'nonsense', 'SHA256:' + digest[:-1], 'SHA256:' + digest + '='):
        conn.refused('bad-key', 32, token, receiver)
    conn.refused('bad-token', 32, 'none', key.line)
    conn.refused('wrong-usage', 32, token)
    conn.refused('wrong-usage', 32, token, key.line, 'x')


@check('claim: pipelined with everything else in one write', doors='tcp unix')
def _(t):
    text, receiver = secret()
    sent = payload()
    conn = t.dial()
    conn.raw(f'8;asfaleia/1;{t.name}\n34;{text};a\n3;a;{receiver};{sent}\n32;a;{receiver}\n6;a\n'.encode())
    for number in (18, 12, 13, 33, 16):
        conn.wants(number)
    expect(conn.wants(21)[2] == sent, 'not what was sent')


@check('proxy: claims of a circuit are rate-limited', needs='proxy')
def _(t):
    conn = t.dial()
    text, _ = secret()
    for number in range(400):
        try:
            heard = conn.ask(34, text)
        except Ended:
            expect(False, f'ended after {number} claims')
        if heard[0] == '99':
            conn.wants_error('rate-limited', heard)
            expect(number >= 200, f'refused after {number} claims')
            return
    expect(False, 'never refused')
