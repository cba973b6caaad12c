"""Section 3: public keys are parsed to the last byte."""
import base64
import os

from check import check, expect, payload, shown
from key import (CURVE_B, Ed25519, P, P256, Q, SkEcdsa, SkEd25519, b64, certify, ed_recover_x, fingerprint, line_of,
    mpint,
                 read_strings, rsa_blob, string, u32)

BAD = 'bad-key'
NOT_THIS = 'bad-key unsupported-key'
"""Where the text does not say which of the two it is."""


def _line(blob, kind=None):
    return line_of(kind or read_strings(blob)[0].decode(), blob)


def _ed(point):
    return line_of('ssh-ed25519', string(b'ssh-ed25519') + string(point))


def _small_order():
    """Every encoding of a y of small order: RFC 7748's curve has points of order 1, 2, 4 and 8, each y also with p added."""
    eight = int.from_bytes(bytes.fromhex('26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05'), 'little')
    numbers = [0, 1, P - 1, eight, P - eight, P, P + 1]
    return [(f'y={shown(y)[:12]} sign {sign}', _ed((y | sign << 255).to_bytes(32,
        'little'))) for y in numbers for sign in (0, 1)]


def _non_canonical():
    """y at least p, of points that are on the curve and not of small order."""
    rows = []
    for y in range(2, 19):
        for sign in (0, 1):
            if ed_recover_x(y, sign) is not None:
                rows.append((f'y=p+{y} sign {sign}', _ed((y + P | sign << 255).to_bytes(32, 'little'))))
    return rows


def _off_curve():
    rows = [y for y in range(2, 60) if ed_recover_x(y, 0) is None][:4]
    return [(f'y={y}', _ed(y.to_bytes(32, 'little'))) for y in rows]


def _refuse_all(t, rows, codes=BAD):
    """Each of these keys, by both proofs, is refused by one of the codes; the connection stays and echoes nothing."""
    def refuse(line, wanted=codes):
        encoded = line.encode() if isinstance(line, str) else line
        body = encoded.split(b' ')[1] if b' ' in encoded else encoded
        t.forbid(body[:60].decode('latin-1'))
        with t.dial() as conn:
            for more in ([], ['sign']):
                conn.refused(wanted, 0, encoded, *more)
                conn.refused(wanted, 0, encoded + b' ' + t.mark.encode(), *more)
            conn.stays()
    t.every(rows, refuse)


@check('keys: the sound ones that the others are made from are taken')
def _(t):
    for key in (Ed25519(), P256(), SkEd25519(), SkEcdsa(), t.rsa()):
        with t.dial() as conn:
            conn.answered(1, 0, key.line)
            conn.answered(1, 0, key.line, 'sign')


@check('keys: the comment is ignored')
def _(t):
    conn, key, token = t.joined()
    for comment in ('someone@somewhere', 'two words', '=', 'AAAA', 'größe', '"\'\\<>&%s', 'x' * 4000, 'asfaleia/1 auth'):
        handle, challenge = t.challenge(conn, key.line + ' ' + comment, 'sign')
        expect(t.text(challenge, handle), '')
    conn.answered(13, 3, token, key.line + ' a comment', payload())
    expect(conn.answered(14, 4, token)[0] == '1', 'a receiver with a comment is another mailbox')


@check('keys: not of the form type and base64 is bad-key')
def _(t):
    key = Ed25519()
    kind, body = key.line.split(' ')
    rows = [(shown(line), line) for line in (
        kind, kind + ' ', body, body + ' ' + kind, kind + body, f'{kind.upper()} {body}', f'ssh-ed25520 {body}',
        f'no-pty {key.line}', f'restrict,command="x" {key.line}', f'{kind} {body[:-1]}', f'{kind} {body}=',
        f'{kind} {body}====',
        f'{kind} {body}A', f'{kind} {body[:20]}*{body[21:]}', f'{kind} {body[:20]} {body[20:]}', f'{kind} -{body[1:]}',
        f'{kind} ={body[1:]}', f'{kind} {body[:40]}=={body[42:]}', 'x', 'None', '-----BEGIN', f'{kind} AAAA',
        'ssh-rsa AAAA',
        'SHA256:' + 'A' * 43, fingerprint(key.blob), f'{kind} ' + 'A' * 68, 'age1' + 'q' * 58)]
    _refuse_all(t, rows, 'bad-key unsupported-key wrong-usage')


@check('keys: base64 that is not canonical is bad-key')
def _(t):
    key = P256()
    body = b64(key.blob)
    expect(body.endswith('=') and not body.endswith('=='), 'the test needs one padding character')
    alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
    other = alphabet[alphabet.index(body[-2]) | 1]
    expect(base64.b64decode(body[:-2] + other + '=') == key.blob, 'the test is to spell the same key')
    while '+' not in body and '/' not in body:
        key = P256()
        body = b64(key.blob)
    _refuse_all(t, [
        ('bits after the end', f'{key.kind} {body[:-2]}{other}='), ('no padding', f'{key.kind} {body[:-1]}'),
        ('too much padding', f'{key.kind} {body}='), ('four characters of padding', f'{key.kind} {body}===='),
        ('the other alphabet', f'{key.kind} ' + body.replace('+', '-').replace('/', '_')),
    ])


@check('keys: bytes after a blob, and blobs cut short, are bad-key')
def _(t):
    rows = []
    for key in (Ed25519(), P256(), SkEd25519(), SkEcdsa(), t.rsa()):
        for extra in (b'\0', b'\0\0\0\0', string(b'more'), b'x' * 40):
            rows.append((f'{key.kind} and {len(extra)} bytes', _line(key.blob + extra, key.kind)))
        for size in (1, 4, 20):
            rows.append((f'{key.kind} less {size}', _line(key.blob[:-size], key.kind)))
        rows.append((f'{key.kind} of a huge length', _line(b'\xff\xff\xff\xff' + key.blob[4:], key.kind)))
        rows.append((f'{key.kind} of a huge last length',
            _line(string(key.kind.encode()) + b'\xff\xff\xff\xff' + b'x' * 32, key.kind)))
        rows.append((f'{key.kind} alone', _line(string(key.kind.encode()))))
    _refuse_all(t, rows)


@check('keys: a type that is not the blob\'s is bad-key')
def _(t):
    keys = (Ed25519(), P256(), SkEd25519(), t.rsa())
    rows = [(f'{key.kind} called {other.kind}',
        f'{other.kind} {b64(key.blob)}') for key in keys for other in keys if key is not other]
    rows.append(('nistp384 called nistp256', _line(P256.blob_of(P256().point, b'nistp384'), 'ecdsa-sha2-nistp256')))
    rows.append(('nistp256 called nistp384', f'ecdsa-sha2-nistp384 {b64(P256().blob)}'))
    point = P256().point
    rows.append(('a 256 point as nistp384', _line(string(b'ecdsa-sha2-nistp384') + string(b'nistp384') + string(point))))
    _refuse_all(t, rows)


@check('keys: ed25519 of another length is bad-key')
def _(t):
    point = Ed25519().point
    _refuse_all(t, [(str(n), _ed((point + point)[:n])) for n in (0, 1, 31, 33, 64)])


@check('keys: ed25519 of small order is bad-key')
def _(t):
    _refuse_all(t, _small_order())


@check('keys: ed25519 of a y that is not canonical is bad-key')
def _(t):
    rows = _non_canonical()
    expect(len(rows) > 10, 'the test found no such y')
    zero = [('x=0 with its sign bit', _ed((1 | 1 << 255).to_bytes(32, 'little'))),
        ('2^255-1', _ed(b'\xff' * 31 + b'\x7f')),
            ('2^256-1', _ed(b'\xff' * 32))]
    _refuse_all(t, rows + zero)


@check('keys: ed25519 off the curve is bad-key')
def _(t):
    _refuse_all(t, _off_curve())


@check('keys: rsa that is weak or not minimal is bad-key')
def _(t):
    key = t.rsa()
    n = key.n
    random = int.from_bytes(os.urandom(2048), 'big')

    def modulus(bits):
        return 1 << (bits - 1) | random & (1 << (bits - 1)) - 1 | 1

    def raw(e, m):
        return string(b'ssh-rsa') + string(e) + string(m)
    e_bytes, n_bytes = mpint(65537)[4:], mpint(n)[4:]
    rows = [(f'{bits} bits', rsa_blob(65537, modulus(bits))) for bits in (8, 512, 1023, 1024, 1536, 2046, 2047, 8193,
        8200, 9000)]
    rows += [(f'exponent {e}', rsa_blob(e, n)) for e in (0, 1, 2, 3, 5, 17, 257, 65535, 65536)]
    rows += [
        ('an even modulus', rsa_blob(65537, n - 1)), ('a modulus of 2^2047', rsa_blob(65537, 1 << 2047)),
        ('a modulus of 0', rsa_blob(65537, 0)), ('a negative modulus', raw(e_bytes, n_bytes[1:])),
        ('a negative exponent', raw(b'\x81\0\1', n_bytes)),
        ('a modulus with a zero in front', raw(e_bytes, b'\0' + n_bytes)),
        ('an exponent with a zero in front', raw(b'\0' + e_bytes, n_bytes)), ('no exponent', raw(b'', n_bytes)),
        ('no modulus', raw(e_bytes, b'')), ('exponent and modulus exchanged', rsa_blob(n, 65537)),
    ]
    _refuse_all(t, [(name, _line(blob)) for name, blob in rows])


@check('keys: rsa of 2048 to 8192 bits with an exponent of at least 65537 is taken')
def _(t):
    random = int.from_bytes(os.urandom(1024), 'big')
    for bits in (2048, 2049, 2056, 3072, 4096, 8191, 8192):
        conn = t.dial()
        modulus = 1 << (bits - 1) | random & (1 << (bits - 1)) - 1 | 1
        for e in (65537, 65539, 2 ** 31 + 11):
            for more in ([], ['sign']):
                heard = conn.ask(0, line_of('ssh-rsa', rsa_blob(e, modulus)), *more)
                expect(heard[0] == '1', f'{bits} bits, exponent {e}, {more or "decrypt"}: {";".join(heard)[:80]}')


@check('keys: ecdsa off the curve, infinite, compressed or of another length is bad-key')
def _(t):
    key = P256()
    x, y = key.point[1:33], key.point[33:]
    # A point whose x is small enough for x + p to fit into 32 bytes.
    small = next(n for n in range(1, 1000) if pow((n ** 3 - 3 * n + CURVE_B) % Q, (Q - 1) // 2, Q) == 1)
    root = pow((small ** 3 - 3 * small + CURVE_B) % Q, (Q + 1) // 4, Q)
    points = [
        ('y+1', b'\4' + x + ((key.y + 1) % Q).to_bytes(32, 'big')), ('x and y exchanged', b'\4' + y + x),
        ('zero', b'\4' + bytes(64)),
        ('infinity', b'\0'), ('infinity of 65 bytes', bytes(65)), ('nothing', b''),
        ('compressed', bytes([2 + (key.y & 1)]) + x),
        ('hybrid', bytes([6 + (key.y & 1)]) + x + y), ('no first byte', x + y), ('64 bytes', key.point[:-1]),
        ('66 bytes', key.point + b'\0'), ('a first byte of 5', b'\5' + x + y),
        ('x+p', b'\4' + (small + Q).to_bytes(32, 'big') + root.to_bytes(32, 'big')), ('2^256-1', b'\4' + b'\xff' * 64),
    ]
    rows = [(name, _line(P256.blob_of(point))) for name, point in points]
    rows += [('sk ' + name, _line(SkEcdsa.blob_of(point))) for name, point in points]
    rows += [('a curve of nothing', _line(P256.blob_of(key.point, b''))),
        ('a curve of another', _line(P256.blob_of(key.point, b'nistp521')))]
    _refuse_all(t, rows)


@check('keys: ecdsa 384 and 521 off the curve or compressed are bad-key')
def _(t):
    rows = []
    for bits in (384, 521):
        kind, curve, point = read_strings(t.keys.get('ecdsa', bits).blob)
        half = (len(point) - 1) // 2
        t.dial().answered(1, 0, line_of(kind.decode(), string(kind) + string(curve) + string(point)))
        for name, wrong in (('off the curve', point[:-1] + bytes([point[-1] ^ 1])), ('infinity', b'\0'),
                            ('compressed', bytes([2 + (point[-1] & 1)]) + point[1:half + 1]), ('cut', point[:-1])):
            rows.append((f'{bits} {name}', _line(string(kind) + string(curve) + string(wrong))))
    _refuse_all(t, rows)


@check('keys: security keys are parsed as strictly')
def _(t):
    ed = SkEd25519()
    kind = ed.kind.encode()
    rows = [('sk ' + name, line_of(ed.kind, SkEd25519.blob_of(base64.b64decode(line.split(' ')[1])[-32:])))
            for name, line in _small_order() + _off_curve() + _non_canonical()[:4]]
    point = read_strings(ed.blob)[1]
    rows += [('sk without an application', _line(string(kind) + string(point))),
        ('sk of 31 bytes', _line(SkEd25519.blob_of(point[:31]))),
             ('sk of 33 bytes', _line(SkEd25519.blob_of(point + b'\0')))]
    _refuse_all(t, rows)


@check('keys: dsa and types that nobody has are refused')
def _(t):
    p = int.from_bytes(b'\x80' + os.urandom(127), 'big') | 1
    dsa = string(b'ssh-dss') + mpint(p) + mpint(2 ** 159 + 1) + mpint(2) + mpint(p // 3)
    rows = [('dsa', _line(dsa)), ('ed448', _line(string(b'ssh-ed448') + string(os.urandom(57)))),
            ('nothing', _line(string(b'') + string(b''), 'ssh-')),
            ('another', _line(string(b'ssh-foo') + string(b'x' * 32))),
            ('__proto__', _line(string(b'__proto__') + string(b'x' * 32))),
            ('constructor', f'constructor {b64(Ed25519().blob)}'),
            ('rsa-sha2-512', _line(string(b'rsa-sha2-512') + t.rsa().blob[11:])),
            ('webauthn', _line(string(b'webauthn-sk-ecdsa-sha2-nistp256@openssh.com') + SkEcdsa().blob[38:]))]
    _refuse_all(t, rows, NOT_THIS)


@check('keys: certificates of hosts, and malformed ones, are refused')
def _(t):
    authority = t.keys.get('ed25519', None, 'authority')
    rows = []
    for key in (Ed25519(), t.rsa(), P256()):
        host = certify(t.folder, authority, key.line, host=True)
        rows.append(('of a host: ' + key.kind, host))
    _refuse_all(t, rows, NOT_THIS)
    line = certify(t.folder, authority, Ed25519().line)
    t.dial().answered(1, 0, line)
    kind, body = line.split(' ')
    blob = base64.b64decode(body)
    # type, nonce, key, then the serial of 8 bytes and the kind of certificate of 4: PROTOCOL.certkeys
    at = 4 + len(kind) + 36 + 36 + 8
    expect(blob[at:at + 4] == u32(1), 'the test is to find the kind of certificate')
    rows = [(f'of kind {n}', _line(blob[:at] + u32(n) + blob[at + 4:], kind)) for n in (0, 3, 257, 2 ** 32 - 1)]
    point = blob[4 + len(kind) + 36:][4:36]
    weak = (1).to_bytes(32, 'little')
    rows += [('with a byte after it', _line(blob + b'\0', kind)), ('cut', _line(blob[:-1], kind)),
        ('cut more', _line(blob[:200], kind)),
             ('of a key of small order', _line(blob.replace(point, weak, 1), kind)),
             ('called a plain key', f'ssh-ed25519 {body}'),
             ('a plain key called one', f'{kind} {b64(Ed25519().blob)}'),
             ('called of rsa', f'ssh-rsa-cert-v01@openssh.com {body}'),
             ('version 00', f'ssh-ed25519-cert-v00@openssh.com {body}')]
    _refuse_all(t, rows, NOT_THIS)
    small = certify(t.folder, authority, t.keys.get('rsa', 1024, 'weak').line)
    _refuse_all(t, [('of a weak rsa key', small)], NOT_THIS)


@check('keys: what is no key to AUTH is no receiver to SEND')
def _(t):
    conn, _, token = t.joined()
    point = P256().point
    key = Ed25519()
    random = int.from_bytes(b'\xc0' + os.urandom(127), 'big') | 1
    rows = [('small order', _small_order()[0][1]), ('off the curve', _off_curve()[0][1]),
        ('not canonical', _non_canonical()[0][1]),
            ('a byte after it', _line(key.blob + b'\0', key.kind)), ('1024 bits', _line(rsa_blob(65537, random))),
            ('exponent 3', _line(rsa_blob(3, t.rsa().n))),
            ('off the curve', _line(P256.blob_of(point[:-1] + bytes([point[-1] ^ 1])))),
            ('junk', t.mark), ('nothing', ''), ('a type alone', 'ssh-ed25519')]

    def refuse(line):
        t.forbid(line[12:72])
        conn.refused('bad-key unsupported-key wrong-usage', 3, token, line, payload())
    t.every(rows[:8], refuse)
    other, _, token = t.joined()
    t.every(rows[8:], lambda line: other.refused('bad-key unsupported-key wrong-usage', 3, token, line, payload()))


@check('keys: a fingerprint is of one form')
def _(t):
    key = Ed25519()
    print_ = fingerprint(key.blob)
    rows = [(shown(line), line) for line in (
        print_[:-1], print_ + 'A', print_ + '=', print_.lower(), 'sha256:' + print_[7:], print_[7:],
        'MD5:' + '00:' * 15 + '00',
        'SHA512:' + 'A' * 86, 'SHA1:' + 'A' * 27, 'SHA256:', 'SHA256:' + '*' * 43, 'SHA256:' + '-' * 43,
        'SHA256: ' + print_[7:],
        print_ + ' ', ' ' + print_)]
    for start in range(0, len(rows), 5):
        conn, _, token = t.joined()
        t.every(rows[start:start + 5], lambda line: conn.refused('bad-key unsupported-key wrong-usage', 3, token,
            line, payload()))
