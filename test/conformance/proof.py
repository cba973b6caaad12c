"""Section 3: challenges, answers, handles and tokens."""
import base64
import hashlib
import os
import re
import time

from check import CHALLENGE, check, decode_url, expect, payload, shown
from connection import Failure
from key import (ORDER, Ed25519, P256, SkEcdsa, SkEd25519, b64, b64url, certify, check_by_openssh, fingerprint, hs256,
    mpint, sshsig,
                 sshsig_blob, sshsig_signed, string)

RSA_SIZES = (2048, 3072, 4096)
DECRYPTERS = [('ed25519', None), *(('rsa', bits) for bits in RSA_SIZES)]
SIGNERS = [*DECRYPTERS, *(('ecdsa', bits) for bits in (256, 384, 521))]
SOFTWARE = (Ed25519, P256, SkEd25519, SkEcdsa)


# --- the client itself: what its own signatures are worth, by OpenSSH's word

@check('self: the signatures made here are sound to ssh-keygen')
def _(t):
    vector = Ed25519(bytes.fromhex('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60'))
    expect(vector.sign_raw(b'').hex().startswith('e5564300c360ac729086e2cc806e828a'), 'not RFC 8032\'s first vector')
    for key in (*(make() for make in SOFTWARE), t.rsa()):
        check_by_openssh(t.folder, sshsig(key, b'asfaleia/1 auth localhost 1 x'), b'asfaleia/1 auth localhost 1 x')


# --- both proofs, every key

def _prove_by_decryption(t, conn, key, line=None):
    handle, challenge = t.challenge(conn, line or key.line)
    expect(challenge.startswith(b'age-encryption.org/v1\n-> ' + key.kind.encode() + b' '), 'not an age file to that key')
    text = t.text(key.decrypt(challenge), handle)
    token, _ = conn.answered(12, 2, handle, text)
    return token


def _prove_by_program(t, conn, key, *more, line=None):
    handle, challenge = t.challenge(conn, line or key.line, *more)
    token, _ = conn.answered(12, 2, handle, key.sshsig(t.text(challenge, handle)))
    return token


@check('decrypt: age opens the challenge to an ed25519 key, and the line answers it', doors='tcp unix ws')
def _(t):
    conn = t.dial()
    token = _prove_by_decryption(t, conn, t.keys.get('ed25519'))
    conn.answered(14, 4, token)


def _decrypt_rsa(bits):
    @check(f'decrypt: age opens the challenge to an rsa key of {bits} bits')
    def _(t):
        conn = t.dial()
        conn.answered(14, 4, _prove_by_decryption(t, conn, t.keys.get('rsa', bits)))


for size in RSA_SIZES:
    _decrypt_rsa(size)


def _sign(kind, bits):
    @check(f'sign: ssh-keygen -Y sign proves {kind}{bits or ""}')
    def _(t):
        conn = t.dial()
        conn.answered(14, 4, _prove_by_program(t, conn, t.keys.get(kind, bits), 'sign'))


for row in SIGNERS:
    _sign(*row)


def _sign_software(make):
    @check(f'sign: {make.kind} in software proves itself')
    def _(t):
        conn = t.dial()
        conn.answered(14, 4, t.login(conn, make()))


for make in SOFTWARE:
    _sign_software(make)


@check('sign: keys that cannot decrypt are challenged so without being asked')
def _(t):
    for key in (P256(), SkEd25519(), SkEcdsa()):
        conn = t.dial()
        handle, challenge = t.challenge(conn, key.line)
        conn.answered(12, 2, handle, b64(sshsig(key, t.text(challenge, handle))))
    for bits in (256, 384, 521):
        conn = t.dial()
        _prove_by_program(t, conn, t.keys.get('ecdsa', bits))


@check('decrypt: keys that can decrypt are challenged so where sign is not asked for')
def _(t):
    for key, stanza in ((Ed25519(), b'-> ssh-ed25519 '), (t.rsa(), b'-> ssh-rsa ')):
        _, challenge = t.challenge(t.dial(), key.line)
        expect(stanza in challenge.split(b'\n--- ')[0], 'not an age file to that key')
        expect(b'asfaleia/1 auth' not in challenge, 'the challenge shows its text')


def _certificate(kind, bits):
    name = f'{kind}{bits or ""}'

    @check(f'certificates: a user certificate of {name} proves itself as its key')
    def _(t):
        key = t.keys.get(kind, bits)
        line = certify(t.folder, t.keys.get('ed25519', None, 'authority'), key.line)
        conn = t.dial()
        tokens = [_prove_by_program(t, conn, key, 'sign', line=line)]
        if kind != 'ecdsa':
            tokens.append(_prove_by_decryption(t, conn, key, line=line))
        conn.answered(13, 3, tokens[0], key.line, payload())
        for token in tokens:
            count, _ = conn.answered(14, 4, token, 'lease')
            if count == '1':
                expect(conn.answered(15, 5, token, conn.wants(20)[0]) == ['1'], 'not acknowledged')
            else:
                expect(token is not tokens[0], 'the certificate has another mailbox than its key')


for row in (('ed25519', None), ('rsa', 2048), ('ecdsa', 256), ('ecdsa', 384), ('ecdsa', 521)):
    _certificate(*row)


@check('certificates: of security keys prove themselves as their keys')
def _(t):
    for make in (SkEd25519, SkEcdsa):
        key = make()
        line = certify(t.folder, t.keys.get('ed25519', None, 'authority'), key.line)
        conn = t.dial()
        handle, challenge = t.challenge(conn, line)
        conn.answered(12, 2, handle, b64(sshsig(key, t.text(challenge, handle))))


@check('certificates: what the text leaves open')
def _(t):
    key = Ed25519()
    line = certify(t.folder, t.keys.get('ed25519', None, 'authority'), key.line)
    conn = t.dial()
    handle, challenge = t.challenge(conn, line, 'sign')
    heard = conn.ask(2, handle, b64(sshsig(key, challenge, blob=base64.b64decode(line.split(' ')[1]))))
    expect(heard[0] == '12' or heard[:2] == ['99', 'auth-failed'], shown(heard))
    t.note('an SSHSIG that carries the certificate for the key is ' + ('taken' if heard[0] == '12' else 'auth-failed'))
    heard = conn.ask(3, t.login(conn, key), line, payload())
    expect(heard[0] == '13' or heard[1] in ('bad-key', 'unsupported-key', 'wrong-usage'), shown(heard))
    if heard[0] == '13':
        token = t.login(conn, key)
        expect(conn.answered(14, 4, token)[0] == '1', 'a certificate as receiver is another mailbox')
        conn.wants(20)
    t.note('a certificate as receiver is ' + ('taken' if heard[0] == '13' else heard[1]))


# --- the challenge

@check('challenge: names the relay, by HELLO the one that was dialled')
def _(t):
    for name in t.names:
        conn = t.dial()
        conn.answered(18, 8, 'asfaleia/1', name)
        handle, challenge = t.challenge(conn, t.person().line, 'sign')
        t.text(challenge, handle, name)
    conn = t.dial()
    conn.answered(18, 8, 'asfaleia/1')
    handle, challenge = t.challenge(conn, t.person().line, 'sign')
    t.text(challenge, handle, t.names[0])


@check('challenge: handles and nonces are random and new each time')
def _(t):
    seen = []
    key = t.person()
    for _ in range(4):
        conn = t.dial()
        for _ in range(4):
            handle, challenge = t.challenge(conn, key.line, 'sign')
            nonce = CHALLENGE.fullmatch(t.text(challenge, handle).decode())[3]
            expect(len(decode_url(nonce)) == 32, 'not a nonce of 32 bytes')
            seen.append((int(handle), nonce))
    handles = [handle for handle, _ in seen]
    expect(len(set(handles)) == 16 and len({nonce for _, nonce in seen}) == 16, 'a handle or a nonce twice')
    steps = [abs(a - b) for a, b in zip(handles, handles[1:])]
    expect(min(steps) > 1000, 'handles that can be guessed from one another')
    expect(max(handles) > 2 ** 24, 'handles that can be guessed')


# --- handles

def _signed(key, challenge):
    return b64(sshsig(key, challenge))


@check('handles: several are good at once, in any order')
def _(t):
    conn = t.dial()
    people = [t.person() for _ in range(3)]
    asked = [(key, *t.challenge(conn, key.line, 'sign')) for key in people]
    for key, handle, challenge in reversed(asked):
        conn.answered(12, 2, handle, _signed(key, challenge))


@check('handles: gone after a right answer')
def _(t):
    conn = t.dial()
    key = t.person()
    handle, challenge = t.challenge(conn, key.line, 'sign')
    conn.answered(12, 2, handle, _signed(key, challenge))
    conn.refused('auth-failed', 2, handle, _signed(key, challenge))
    conn.stays()


@check('handles: gone after a wrong answer, by both proofs')
def _(t):
    conn = t.dial()
    key = t.person()
    handle, challenge = t.challenge(conn, key.line, 'sign')
    conn.refused('auth-failed', 2, handle, _signed(t.person(), challenge))
    conn.refused('auth-failed', 2, handle, _signed(key, challenge))
    file = t.keys.get('ed25519')
    conn = t.dial()
    handle, challenge = t.challenge(conn, file.line)
    text = file.decrypt(challenge)
    conn.refused('auth-failed', 2, handle, text[:-1] + (b'A' if text[-1:] != b'A' else b'B'))
    conn.refused('auth-failed', 2, handle, text)


@check('handles: a foreign one is auth-failed and stays good where it belongs')
def _(t):
    conn, other = t.dial(), t.dial()
    key = t.person()
    handle, challenge = t.challenge(conn, key.line, 'sign')
    other.refused('auth-failed', 2, handle, _signed(key, challenge))
    conn.answered(12, 2, handle, _signed(key, challenge))


@check('handles: gone with their connection')
def _(t):
    conn = t.dial()
    key = t.person()
    handle, challenge = t.challenge(conn, key.line, 'sign')
    conn.close()
    t.dial().refused('auth-failed', 2, handle, _signed(key, challenge))


@check('handles: one key\'s handle is not answered by another\'s proof')
def _(t):
    conn = t.dial()
    a, b = t.person(), t.person()
    one, text_one = t.challenge(conn, a.line, 'sign')
    two, text_two = t.challenge(conn, b.line, 'sign')
    conn.refused('auth-failed', 2, one, _signed(b, text_two))
    conn.refused('auth-failed', 2, two, _signed(b, text_one))


@check('handles: unknown and malformed ones are auth-failed or wrong-usage')
def _(t):
    handle, _ = t.challenge(t.dial(), t.person().line, 'sign')
    size = len(handle)
    rows = [(shown(h), h) for h in ('1', '0', '9' * size, handle[:-1] + str((int(handle[-1]) + 1) % 10))]
    t.every(rows, lambda h: t.dial().refused('auth-failed', 2, h, 'x'))
    rows = [(shown(h), h) for h in ('', '-1', '1e3', '0' + handle, handle + ' ', '+' + handle, '9' * 400, t.mark,
        '__proto__')]
    t.every(rows, lambda h: t.dial().refused('auth-failed wrong-usage', 2, h, t.mark))


@check('handles: auth-failed stays twice and closes after three', doors='tcp ws')
def _(t):
    conn = t.dial()
    for _ in range(2):
        conn.refused('auth-failed', 2, '123', t.mark)
        conn.stays()
    conn.refused('auth-failed', 2, '123', t.mark)
    conn.ends()


@check('handles: after three failures in one write nothing more is done')
def _(t):
    conn = t.dial()
    key = t.person()
    handle, challenge = t.challenge(conn, key.line, 'sign')
    conn.raw(b'2;1;x\n' * 3 + f'2;{handle};{_signed(key, challenge)}\n'.encode() + b'7\n')
    for _ in range(3):
        conn.wants_error('auth-failed')
    conn.ends()


# --- answers

@check('decrypt: an answer that is not the line is auth-failed')
def _(t):
    key = t.keys.get('ed25519')
    signer = t.person()

    def attempt(change, codes='auth-failed'):
        conn = t.dial()
        handle, challenge = t.challenge(conn, key.line)
        conn.refused(codes, 2, handle, change(key.decrypt(challenge).decode(), challenge))
    rows = [
        ('the line and a space', lambda line, _: line + ' '), ('a space and the line', lambda line, _: ' ' + line),
        ('another nonce', lambda line, _: line.rsplit(' ', 1)[0] + ' ' + b64url(os.urandom(32))),
        ('the nonce alone', lambda line, _: line.rsplit(' ', 1)[1]), ('upper case', lambda line, _: line.upper()),
        ('base64 of the line', lambda line, _: b64(line.encode())), ('the line less one', lambda line, _: line[:-1]),
        ('the line and one more', lambda line, _: line + 'A'), ('the line twice', lambda line, _: line + line),
        ('the challenge itself', lambda _, challenge: b64(challenge)),
        ('another relay\'s', lambda line, _: line.replace(t.name, 'x', 1)),
        ('a signature of another key', lambda line, _: _signed(signer, line.encode())), ('a word', lambda *_: t.mark),
        ('a long answer', lambda line, _: line + 'x' * 7000),
    ]
    t.every(rows, attempt)
    t.every([('nothing', lambda *_: '')], lambda change: attempt(change, 'auth-failed wrong-usage'))


def _refuse_signatures(t, key, rows, codes='auth-failed'):
    """Each row makes an answer from the challenge's text; the right one, last, shows that it was for the row's sake."""
    def attempt(make):
        conn = t.dial()
        handle, challenge = t.challenge(conn, key.line, 'sign')
        answer = make(t.text(challenge, handle))
        conn.refused(codes, 2, handle, answer if isinstance(answer, str) else b64(answer))
    t.every(rows, attempt)
    conn = t.dial()
    handle, challenge = t.challenge(conn, key.line, 'sign')
    conn.answered(12, 2, handle, _signed(key, challenge))


@check('sign: the line itself, or a word, is no answer')
def _(t):
    _refuse_signatures(t, t.person(), [
        ('the line', lambda text: text.decode()), ('base64 of the line', lambda text: b64(text)),
        ('a word', lambda _: t.mark),
        ('base64 of a word', lambda _: b64(t.mark.encode())), ('AAAA', lambda _: 'AAAA'),
        ('zeros', lambda _: b64(bytes(183))),
    ])


@check('sign: another namespace, hash, text, key or version is auth-failed')
def _(t):
    key, other = t.person(), t.person()
    rows = [(f'namespace {shown(n)}', lambda text, n=n: sshsig(key, text, namespace=n)) for n in (
        b'file', b'', b'asfaleia', b'asfaleia-auth\0', b'asfaleia-auth ', b'ASFALEIA-AUTH', b'git', b'asfaleia-auth2')]
    rows += [
        ('another namespace outside only',
            lambda text: sshsig_blob(key.blob, key.sign(sshsig_signed(text)), namespace=b'file')),
        ('another namespace inside only', lambda text: sshsig_blob(key.blob, key.sign(sshsig_signed(text,
            namespace=b'file')))),
        ('the line and a line break', lambda text: sshsig(key, text + b'\n')),
        ('base64 of the line', lambda text: sshsig(key, b64(text).encode())),
        ('another text', lambda _: sshsig(key, t.mark.encode())), ('no text', lambda _: sshsig(key, b'')),
        ('another nonce', lambda text: sshsig(key, text[:-43] + b64url(os.urandom(32)).encode())),
        ('another key', lambda text: sshsig(other, text)),
        ('another key\'s signature', lambda text: sshsig(other, text, blob=key.blob)),
        ('the key\'s signature under another', lambda text: sshsig(key, text, blob=other.blob)),
        ('no key', lambda text: sshsig_blob(b'', key.sign(sshsig_signed(text)))),
        ('reserved not empty', lambda text: sshsig(key, text, reserved=b'x')),
        ('reserved not empty outside only',
            lambda text: sshsig_blob(key.blob, key.sign(sshsig_signed(text)), reserved=b'x')),
        ('version 0', lambda text: sshsig(key, text, version=0)),
        ('version 2', lambda text: sshsig(key, text, version=2)),
        ('another magic', lambda text: sshsig_blob(key.blob, key.sign(sshsig_signed(text)), magic=b'SSHSIX')),
        ('no envelope signed', lambda text: sshsig_blob(key.blob, key.sign(text))),
        ('the hash alone signed', lambda text: sshsig_blob(key.blob, key.sign(sshsig_signed(text)[-64:]))),
    ]
    rows += [(f'hash {h}', lambda text, h=h: sshsig(key, text, hash_name=h)) for h in ('md5', 'sha1', 'sha224',
        'sha384', 'sha3_512', 'SHA512')]
    rows += [
        ('sha512 called sha256', lambda text: sshsig_blob(key.blob, key.sign(sshsig_signed(text)), hash_name='sha256')),
        ('a hash of nothing', lambda text: sshsig_blob(key.blob, key.sign(sshsig_signed(text)), hash_name='')),
    ]
    _refuse_signatures(t, key, rows)


@check('sign: bytes more or less are auth-failed')
def _(t):
    key = t.person()

    def remade(change):
        return lambda text: sshsig_blob(key.blob, change(key.sign_raw(sshsig_signed(text))))
    name = string(b'ssh-ed25519')
    rows = [
        ('a byte after', lambda text: sshsig(key, text) + b'\0'),
        ('a string after', lambda text: sshsig(key, text) + string(b'')),
        ('less a byte', lambda text: sshsig(key, text)[:-1]),
        ('less its signature', lambda text: sshsig(key, text)[:-83]),
        ('a byte in front', lambda text: b'\0' + sshsig(key, text)), ('the magic alone', lambda _: b'SSHSIG'),
        ('a byte after the inner signature', remade(lambda s: name + string(s) + b'\0')),
        ('63 bytes', remade(lambda s: name + string(s[:63]))),
        ('65 bytes', remade(lambda s: name + string(s + b'\0'))), ('no bytes', remade(lambda s: name + string(b''))),
        ('no signature', remade(lambda _: b'')), ('called ssh-rsa', remade(lambda s: string(b'ssh-rsa') + string(s))),
        ('called a security key\'s', remade(lambda s: string(SkEd25519.kind.encode()) + string(s) + b'\1\0\0\0\7')),
        ('a bit', remade(lambda s: name + string(bytes([s[0] ^ 1]) + s[1:]))),
        ('the last bit', remade(lambda s: name + string(s[:63] + bytes([s[63] ^ 128])))),
        ('zeros', remade(lambda s: name + string(bytes(64)))),
        ('a huge length', lambda text: sshsig(key, text).replace(string(b'sha512'), b'\xff\xff\xff\xffsha512')),
        ('the key with a byte after it', lambda text: sshsig(key, text, blob=key.blob + b'\0')),
    ]
    _refuse_signatures(t, key, rows)


@check('sign: base64 of another form is auth-failed')
def _(t):
    key = SkEd25519()
    expect(len(sshsig(key, b'x')) % 3 != 0, 'the test needs padding')
    rows = [
        ('no padding', lambda text: _signed(key, text).rstrip('=')),
        ('more padding', lambda text: _signed(key, text) + '===='),
        ('a space in front', lambda text: ' ' + _signed(key, text)),
        ('a space within', lambda text: _signed(key, text)[:70] + ' ' + _signed(key, text)[70:]),
        ('a space after', lambda text: _signed(key, text) + ' '), ('cut', lambda text: _signed(key, text)[:-6]),
        ('in its armor', lambda text: '-----BEGIN SSH SIGNATURE-----' + _signed(key,
            text) + '-----END SSH SIGNATURE-----'),
        ('a word after', lambda text: _signed(key, text) + t.mark),
    ]
    _refuse_signatures(t, key, rows, 'auth-failed wrong-usage')


@check('sign: sha256 and sha512 within the SSHSIG are both taken')
def _(t):
    for hash_name in ('sha256', 'sha512'):
        conn = t.dial()
        key = t.person()
        handle, challenge = t.challenge(conn, key.line, 'sign')
        conn.answered(12, 2, handle, b64(sshsig(key, challenge, hash_name=hash_name)))


@check('sign: rsa takes sha2 and refuses sha1, other padding and other lengths')
def _(t):
    key = t.rsa()
    for algorithm in ('rsa-sha2-256', 'rsa-sha2-512'):
        conn = t.dial()
        handle, challenge = t.challenge(conn, key.line, 'sign')
        conn.answered(12, 2, handle, b64(sshsig_blob(key.blob, key.sign(sshsig_signed(challenge), algorithm))))

    def named(name, make):
        return lambda text: sshsig_blob(key.blob, string(name) + string(make(sshsig_signed(text))))
    rows = [
        ('ssh-rsa', lambda text: sshsig_blob(key.blob, key.sign(sshsig_signed(text), 'ssh-rsa'))),
        ('sha1 called rsa-sha2-512', named(b'rsa-sha2-512', lambda d: key.sign_raw(d, 'ssh-rsa'))),
        ('sha256 called rsa-sha2-512', named(b'rsa-sha2-512', lambda d: key.sign_raw(d, 'rsa-sha2-256'))),
        ('sha512 called ssh-rsa', named(b'ssh-rsa', key.sign_raw)),
        ('sha512 called ssh-ed25519', named(b'ssh-ed25519', key.sign_raw)),
        ('a zero in front', named(b'rsa-sha2-512', lambda d: b'\0' + key.sign_raw(d))),
        ('a zero after', named(b'rsa-sha2-512', lambda d: key.sign_raw(d) + b'\0')),
        ('zeros', named(b'rsa-sha2-512', lambda _: bytes(256))),
        ('one', named(b'rsa-sha2-512', lambda _: bytes(255) + b'\1')),
        ('the modulus', named(b'rsa-sha2-512', lambda _: key.n.to_bytes(256, 'big'))),
        ('no bytes', named(b'rsa-sha2-512', lambda _: b'')),
    ]
    _refuse_signatures(t, key, rows)


@check('sign: ecdsa refuses other numbers and other forms')
def _(t):
    key = P256()

    def numbers(change):
        def make(text):
            r, s = key.numbers(sshsig_signed(text))
            return sshsig_blob(key.blob, string(key.kind.encode()) + string(change(r, s)))
        return make

    def der(r, s):
        body = b''.join(b'\2' + bytes([len(mpint(n)) - 4]) + mpint(n)[4:] for n in (r, s))
        return b'\x30' + bytes([len(body)]) + body
    rows = [
        ('zeros', numbers(lambda r, s: mpint(0) + mpint(0))), ('r of 0', numbers(lambda r, s: mpint(0) + mpint(s))),
        ('s of 0', numbers(lambda r, s: mpint(r) + mpint(0))), ('ones', numbers(lambda r, s: mpint(1) + mpint(1))),
        ('s and the order', numbers(lambda r, s: mpint(r) + mpint(s + ORDER))),
        ('r and the order', numbers(lambda r, s: mpint(r + ORDER) + mpint(s))),
        ('r is the order', numbers(lambda r, s: mpint(ORDER) + mpint(s))),
        ('exchanged', numbers(lambda r, s: mpint(s) + mpint(r))),
        ('negative', numbers(lambda r, s: string(b'\xff' + r.to_bytes(32, 'big')) + mpint(s))),
        ('r alone', numbers(lambda r, s: mpint(r))),
        ('DER', numbers(der)), ('fixed length', numbers(lambda r, s: r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))),
        ('a byte after', numbers(lambda r, s: mpint(r) + mpint(s) + b'\0')),
        ('huge', numbers(lambda r, s: string(b'\1' * 500) + mpint(s))),
        ('called nistp384', lambda text: sshsig_blob(key.blob,
            string(b'ecdsa-sha2-nistp384') + key.sign(sshsig_signed(text))[23:])),
        ('another key', lambda text: sshsig(P256(), text, blob=key.blob)),
    ]
    _refuse_signatures(t, key, rows)


def _security_key(make):
    @check(f'sign: {make.kind} refuses what the key did not sign')
    def _(t):
        key = make()

        def changed(change):
            return lambda text: sshsig_blob(key.blob, change(key.sign(sshsig_signed(text))))
        rows = [
            ('other flags', changed(lambda s: s[:-5] + bytes([s[-5] ^ 4]) + s[-4:])),
            ('another counter', changed(lambda s: s[:-1] + bytes([s[-1] ^ 1]))),
            ('another application', lambda text: sshsig_blob(key.blob, key.sign(sshsig_signed(text),
                application=b'ssh:other'))),
            ('a web application', lambda text: sshsig_blob(key.blob, key.sign(sshsig_signed(text),
                application=b'https://example.com'))),
            ('no counter', changed(lambda s: s[:-4])), ('no flags', changed(lambda s: s[:-5])),
            ('a byte after', changed(lambda s: s + b'\0')),
            ('the line signed without its hash', lambda text: sshsig_blob(key.blob, key.sign(text))),
            ('signed as a plain key does',
                lambda text: sshsig_blob(key.blob,
                    string(key.kind.encode()) + string(key._inner(sshsig_signed(text))) + b'\1\0\0\0\7')),
        ]
        _refuse_signatures(t, key, rows)
        for flags, what in ((0, 'without a touch'), (5, 'with a touch and a PIN')):
            conn = t.dial()
            handle, challenge = t.challenge(conn, key.line)
            heard = conn.ask(2, handle, b64(sshsig_blob(key.blob, key.sign(sshsig_signed(challenge), flags=flags))))
            expect(heard[0] == '12' or flags == 0 and heard[:2] == ['99', 'auth-failed'], shown(heard))
            t.note(f'a security key\'s signature {what} is ' + ('taken' if heard[0] == '12' else 'auth-failed'))


for make in (SkEd25519, SkEcdsa):
    _security_key(make)


# --- tokens

def _claims(token):
    """The header and the claims as text: python3-minimal has no json module."""
    return [decode_url(part).decode() for part in token.split('.')[:2]]


def _claim(text, name):
    match = re.search(f'"{name}"\\s*:\\s*("[^"]*"|[0-9.]+|\\["[^"]*"\\])', text)
    expect(match is not None, f'no {name} in the token')
    return match[1].strip('[]"')


@check('tokens: a JWT of HS256 with aud, sub, iat, exp and jti')
def _(t):
    conn = t.dial()
    key = t.person()
    token, seconds = t.sign_in(conn, key)
    header, claims = _claims(token)
    expect(re.search(r'"alg"\s*:\s*"HS256"', header) is not None, f'the header {header}')
    expect(_claim(claims, 'aud') == t.name, 'aud is not the relay\'s name')
    issued, until = int(_claim(claims, 'iat')), int(_claim(claims, 'exp'))
    expect(abs(until - issued - seconds) <= 1, f'exp - iat is {until - issued}, TOKEN says {seconds}')
    expect(seconds == 3600 or t.options.lenient, f'a token of {seconds} s')
    expect(abs(issued - time.time()) > 60, 'iat states the time')
    expect(len(decode_url(token.split('.')[2])) == 32, 'not a signature of 256 bits')
    again, _ = t.sign_in(conn, key)
    other = t.login(conn, t.person())
    same, differs = _claims(again)[1], _claims(other)[1]
    expect(_claim(same, 'sub') == _claim(claims, 'sub'), 'the same key has another sub')
    expect(_claim(differs, 'sub') != _claim(claims, 'sub'), 'another key has the same sub')
    expect(len({_claim(c, 'jti') for c in (claims, same, differs)}) == 3, 'a jti twice')
    digest = hashlib.sha256(key.blob).digest()
    told = _claim(claims, 'sub')
    for known in (b64(digest).rstrip('='), b64url(digest), digest.hex(), fingerprint(key.blob), b64(key.blob),
        hashlib.sha256(digest).hexdigest()):
        expect(known not in token and known not in claims and known != told, 'sub is what the key\'s fingerprint tells')
    t.note(f'the header is {header}, a token has {len(token)} characters')


@check('tokens: good on every connection, and only for its own mailbox', doors='tcp ws')
def _(t):
    conn, key, token = t.joined()
    sender, other, pass_ = t.joined()
    sender.answered(13, 3, pass_, key.line, payload())
    conn.close()
    beside = t.dial()
    expect(beside.answered(14, 4, pass_)[0] == '0', 'another\'s message')
    expect(beside.answered(14, 4, token)[0] == '1', 'the token is not good on another connection')
    beside.wants(20)


@check('tokens: forged, cut, foreign and too long ones are bad-token')
def _(t):
    conn, key, token = t.joined()
    head, body, signature = token.split('.')

    def made(header, claims=None, secret=b'secret', sign=hs256):
        first = f'{b64url(header.encode())}.{b64url(claims.encode()) if claims is not None else body}'
        return f'{first}.{b64url(sign(secret, first.encode()))}'
    claims = decode_url(body).decode()
    hs = '{"alg":"HS256","typ":"JWT"}'
    middle = len(signature) // 2
    swapped = signature[:middle] + ('A' if signature[middle] != 'A' else 'B') + signature[middle + 1:]
    rows = [
        ('a word', t.mark), ('three words', 'a.b.c'), ('two dots', '..'), ('no signature', f'{head}.{body}.'),
        ('two parts', f'{head}.{body}'),
        ('four parts', token + '.x'), ('a changed signature', f'{head}.{body}.{swapped}'), ('cut by one', token[:-1]),
        ('cut by ten', token[:-10]),
        ('cut to half', token[:len(token) // 2]), ('one more', token + 'A'), ('a space after', token + ' '),
        ('a space in front', ' ' + token),
        ('padded', token + '='), ('another secret', made(hs)), ('an empty secret', made(hs, secret=b'')),
        ('a secret of zeros', made(hs, secret=bytes(32))),
        ('alg none', f'{b64url(b"{}")}.{body}.'),
        ('alg none by name', b64url(b'{"alg":"none","typ":"JWT"}') + f'.{body}.'),
        ('alg None', b64url(b'{"alg":"None"}') + f'.{body}.'),
        ('alg none with the signature', b64url(b'{"alg":"none"}') + f'.{body}.{signature}'),
        ('alg HS512 with the signature', b64url(b'{"alg":"HS512","typ":"JWT"}') + f'.{body}.{signature}'),
        ('RS256', made('{"alg":"RS256"}')),
        ('a key of its own in the header', made('{"alg":"HS256","jwk":{"kty":"oct","k":"c2VjcmV0"}}')),
        ('a kid of a file', made('{"alg":"HS256","kid":"/dev/null"}', secret=b'')),
        ('a later end', f'{head}.' + b64url(re.sub(r'"exp":(\d)', r'"exp":9\1', claims).encode()) + f'.{signature}'),
        ('claims not JSON', made(hs, 'x')), ('no claims', made(hs, '{}')), ('null', made(hs, 'null')),
        ('an empty header', f'.{body}.{signature}'),
        ('upper case', token.upper()), ('base64 for base64url', 'A+/A.' + body + '.' + signature),
        ('500 more', token + 'A' * 500), ('7,000 more', token + 'A' * 7000),
        ('7,000 letters', t.mark + 'A' * 7000), ('7,000 dots', '.' * 7000), ('bytes', b'\xff\xfe.\xff.\xff'),
        ('__proto__', '__proto__'),
    ]
    # What was made here must not come back; what was taken over from the good token came in by TOKEN.
    for _, forged in rows:
        if isinstance(forged, str) and not any(part[at:at + 12].lower() in forged.lower() for part in (body,
            signature) for at in range(0, len(part) - 12)):
            t.forbid(forged[-60:])

    def refuse(forged):
        # By a connection that proved this very token, by one that proved nothing, and of every request.
        conn.refused('bad-token', 4, forged)
        with t.dial() as fresh:
            fresh.refused('bad-token', 4, forged)
            fresh.refused('bad-token', 4, forged, 'lease')
            fresh.refused('bad-token', 6, forged)
            fresh.refused('bad-token', 9, forged)
            fresh.refused('bad-token', 3, forged, key.line, payload())
            fresh.refused('bad-token', 5, forged, 'x')
            fresh.stays()
    t.every(rows, refuse)
    conn.answered(14, 4, token)


@check('tokens: two people on one connection keep their own')
def _(t):
    conn, a, token_a = t.joined()
    b = t.person()
    token_b = t.login(conn, b)
    text_a, text_b = payload(), payload()
    conn.answered(13, 3, token_a, b.line, text_b)
    conn.answered(13, 3, token_b, a.line, text_a)
    for token, text in ((token_a, text_a), (token_b, text_b)):
        expect(conn.answered(14, 4, token) == ['1', '0'], 'another count')
        expect(conn.wants(20)[1] == text, 'another\'s message')


@check('tokens: the bits that base64url leaves over')
def _(t):
    conn, _, token = t.joined()
    alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    twin = token[:-1] + alphabet[alphabet.index(token[-1]) ^ 1]
    heard = t.dial().ask(4, twin)
    if heard[0] != '14' and heard[:2] != ['99', 'bad-token']:
        raise Failure(shown(heard))
    t.note('a token spelt with other left-over bits is ' + ('taken' if heard[0] == '14' else 'bad-token'))
