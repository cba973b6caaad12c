"""SSH keys, their signatures and their SSHSIGs, written out for the conformance client.

Ed25519 is RFC 8032 section 5.1, ECDSA is FIPS 186 over P-256, RSA is PKCS #1 v1.5 (RFC 8017 section 8.2),
blobs are RFC 4253 section 6.6, RFC 5656 section 3.1, RFC 8709 and OpenSSH's PROTOCOL.u2f, SSHSIG is OpenSSH's
PROTOCOL.sshsig. For tests alone: nothing here runs in constant time, and no key outlives the run.
"""
import base64
import hashlib
import os
import re
import struct
import subprocess

# --- RFC 4251 section 5: how SSH writes numbers and strings


def u32(number):
    return struct.pack('>I', number)


def string(data):
    return u32(len(data)) + data


def mpint(number):
    """A non-negative number, minimal, with a zero byte in front where the first bit is set."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, 'big') if number else b'')


def read_strings(blob):
    """The blob as a list of its strings. @raises ValueError when it is not made of whole strings."""
    parts, at = [], 0
    while at < len(blob):
        if at + 4 > len(blob):
            raise ValueError('a cut length')
        (size,) = struct.unpack_from('>I', blob, at)
        if at + 4 + size > len(blob):
            raise ValueError('a cut string')
        parts.append(blob[at + 4:at + 4 + size])
        at += 4 + size
    return parts


def b64(data):
    return base64.b64encode(data).decode()


def b64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip('=')


def line_of(kind, blob):
    return kind + ' ' + b64(blob)


# --- Ed25519: extended coordinates on -x^2 + y^2 = 1 + d x^2 y^2

P = 2 ** 255 - 19
L = 2 ** 252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def _ed_add(a, b):
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    s, t = (y1 - x1) * (y2 - x2) % P, (y1 + x1) * (y2 + x2) % P
    u, v = 2 * t1 * t2 * D % P, 2 * z1 * z2 % P
    e, f, g, h = t - s, v - u, v + u, t + s
    return e * f % P, g * h % P, f * g % P, e * h % P


def _ed_multiply(scalar, point):
    total = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            total = _ed_add(total, point)
        point = _ed_add(point, point)
        scalar >>= 1
    return total


def ed_recover_x(y, sign):
    """RFC 8032 section 5.1.3. @returns x, or None where no point has this y."""
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def _ed_encode(point):
    x, y, z, _ = point
    inverse = pow(z, P - 2, P)
    x, y = x * inverse % P, y * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, 'little')


_ED_Y = 4 * pow(5, P - 2, P) % P
_ED_X = ed_recover_x(_ED_Y, 0)
_ED_BASE = (_ED_X, _ED_Y, 1, _ED_X * _ED_Y % P)


class Ed25519:
    kind = 'ssh-ed25519'

    def __init__(self, seed=None):
        digest = hashlib.sha512(seed or os.urandom(32)).digest()
        scalar = int.from_bytes(digest[:32], 'little')
        self._scalar = scalar & ~7 & (1 << 255) - 1 & ~(1 << 255) | 1 << 254
        self._prefix = digest[32:]
        self.point = _ed_encode(_ed_multiply(self._scalar, _ED_BASE))
        self.blob = string(b'ssh-ed25519') + string(self.point)
        self.line = line_of(self.kind, self.blob)

    def sign_raw(self, data):
        r = int.from_bytes(hashlib.sha512(self._prefix + data).digest(), 'little') % L
        commitment = _ed_encode(_ed_multiply(r, _ED_BASE))
        k = int.from_bytes(hashlib.sha512(commitment + self.point + data).digest(), 'little')
        return commitment + ((r + k * self._scalar) % L).to_bytes(32, 'little')

    def sign(self, data):
        return string(b'ssh-ed25519') + string(self.sign_raw(data))


# --- P-256, affine

Q = 2 ** 256 - 2 ** 224 + 2 ** 192 + 2 ** 96 - 1
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CURVE_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
_P256_BASE = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
              0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)


def _p256_add(a, b):
    if a is None or b is None:
        return a or b
    (x1, y1), (x2, y2) = a, b
    if x1 == x2 and (y1 + y2) % Q == 0:
        return None
    if x1 == x2:
        slope = (3 * x1 * x1 - 3) * pow(2 * y1, -1, Q)
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, Q)
    x = (slope * slope - x1 - x2) % Q
    return x, (slope * (x1 - x) - y1) % Q


def _p256_multiply(scalar, point):
    total = None
    while scalar:
        if scalar & 1:
            total = _p256_add(total, point)
        point = _p256_add(point, point)
        scalar >>= 1
    return total


class P256:
    kind = 'ecdsa-sha2-nistp256'

    def __init__(self):
        self._scalar = int.from_bytes(os.urandom(40), 'big') % (ORDER - 1) + 1
        self.x, self.y = _p256_multiply(self._scalar, _P256_BASE)
        self.point = b'\4' + self.x.to_bytes(32, 'big') + self.y.to_bytes(32, 'big')
        self.blob = self.blob_of(self.point)
        self.line = line_of(self.kind, self.blob)

    @classmethod
    def blob_of(cls, point, curve=b'nistp256'):
        return string(cls.kind.encode()) + string(curve) + string(point)

    def numbers(self, data):
        """The signature's r and s."""
        z = int.from_bytes(hashlib.sha256(data).digest(), 'big')
        k = int.from_bytes(os.urandom(40), 'big') % (ORDER - 1) + 1
        r = _p256_multiply(k, _P256_BASE)[0] % ORDER
        return r, pow(k, -1, ORDER) * (z + r * self._scalar) % ORDER

    def sign(self, data):
        r, s = self.numbers(data)
        return string(self.kind.encode()) + string(mpint(r) + mpint(s))


# --- Security keys in software: PROTOCOL.u2f, "SSH U2F signatures"

class _SecurityKey:
    application = b'ssh:'

    def _signed(self, data, flags, counter, application):
        return hashlib.sha256(application).digest() + bytes([flags]) + u32(counter) + hashlib.sha256(data).digest()

    def sign(self, data, flags=1, counter=7, application=None):
        signed = self._signed(data, flags, counter, application or self.application)
        return string(self.kind.encode()) + string(self._inner(signed)) + bytes([flags]) + u32(counter)


class SkEd25519(_SecurityKey):
    kind = 'sk-ssh-ed25519@openssh.com'

    def __init__(self):
        self._key = Ed25519()
        self.blob = self.blob_of(self._key.point)
        self.line = line_of(self.kind, self.blob)

    @classmethod
    def blob_of(cls, point):
        return string(cls.kind.encode()) + string(point) + string(cls.application)

    def _inner(self, signed):
        return self._key.sign_raw(signed)


class SkEcdsa(_SecurityKey):
    kind = 'sk-ecdsa-sha2-nistp256@openssh.com'

    def __init__(self):
        self._key = P256()
        self.blob = self.blob_of(self._key.point)
        self.line = line_of(self.kind, self.blob)

    @classmethod
    def blob_of(cls, point):
        return string(cls.kind.encode()) + string(b'nistp256') + string(point) + string(cls.application)

    def _inner(self, signed):
        r, s = self._key.numbers(signed)
        return mpint(r) + mpint(s)


# --- RSA: the private numbers come from a key that ssh-keygen made

_DIGEST_INFO = {
    'sha1': bytes.fromhex('3021300906052b0e03021a05000414'),
    'sha256': bytes.fromhex('3031300d060960864801650304020105000420'),
    'sha512': bytes.fromhex('3051300d060960864801650304020305000440'),
}
_RSA_HASH = {'ssh-rsa': 'sha1', 'rsa-sha2-256': 'sha256', 'rsa-sha2-512': 'sha512'}


def rsa_blob(e, n):
    return string(b'ssh-rsa') + mpint(e) + mpint(n)


class Rsa:
    kind = 'ssh-rsa'

    def __init__(self, pem):
        """@param pem the text of a PKCS #1 private key."""
        body = ''.join(row for row in pem.splitlines() if not row.startswith('-'))
        _, self.n, self.e, self._d = _der_integers(base64.b64decode(body))[:4]
        self.blob = rsa_blob(self.e, self.n)
        self.line = line_of(self.kind, self.blob)

    def sign_raw(self, data, algorithm='rsa-sha2-512'):
        name = _RSA_HASH[algorithm]
        digest = _DIGEST_INFO[name] + hashlib.new(name, data).digest()
        size = (self.n.bit_length() + 7) // 8
        padded = b'\0\1' + b'\xff' * (size - len(digest) - 3) + b'\0' + digest
        return pow(int.from_bytes(padded, 'big'), self._d, self.n).to_bytes(size, 'big')

    def sign(self, data, algorithm='rsa-sha2-512'):
        return string(algorithm.encode()) + string(self.sign_raw(data, algorithm))


def _der_integers(der):
    """The integers of a DER SEQUENCE of INTEGERs."""
    def length(at):
        size, at = der[at], at + 1
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(der[at:at + count], 'big'), at + count
        return size, at
    numbers = []
    _, at = length(1)
    while at < len(der):
        size, at = length(at + 1)
        numbers.append(int.from_bytes(der[at:at + size], 'big'))
        at += size
    return numbers


# --- SSHSIG

NAMESPACE = b'asfaleia-auth'


def sshsig_signed(text, namespace=NAMESPACE, hash_name='sha512', reserved=b''):
    """What the key signs: PROTOCOL.sshsig section 3."""
    digest = hashlib.new(hash_name, text).digest()
    return b'SSHSIG' + string(namespace) + string(reserved) + string(hash_name.encode()) + string(digest)


def sshsig_blob(blob, signature, namespace=NAMESPACE, hash_name='sha512', reserved=b'', version=1, magic=b'SSHSIG'):
    """PROTOCOL.sshsig section 2."""
    return (magic + u32(version) + string(blob) + string(namespace) + string(reserved)
            + string(hash_name.encode()) + string(signature))


def sshsig(key, text, namespace=NAMESPACE, hash_name='sha512', reserved=b'', version=1, blob=None):
    signature = key.sign(sshsig_signed(text, namespace, hash_name, reserved))
    return sshsig_blob(blob or key.blob, signature, namespace, hash_name, reserved, version)


def fingerprint(blob):
    """As `ssh-keygen -l` prints it."""
    return 'SHA256:' + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')


def hs256(secret, data):
    """HMAC-SHA256, RFC 2104: python3-minimal has no hmac module."""
    secret = secret.ljust(64, b'\0')
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in secret) + data).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in secret) + inner).digest()


# --- Keys in files, used by the programs that people have

def _run(command, given=b''):
    done = subprocess.run(command, input=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    if done.returncode:
        raise RuntimeError(f'{command[0]} refused: {done.stderr.decode(errors="replace").strip()}')
    return done.stdout


class FileKey:
    """A key of ssh-keygen's in a file; it signs by `ssh-keygen -Y sign` and decrypts by `age -d`."""

    def __init__(self, path):
        self.path = path
        with open(path + '.pub', encoding='ascii') as file:
            self.line = ' '.join(file.read().split()[:2])
        self.kind, body = self.line.split(' ')
        self.blob = base64.b64decode(body)

    @classmethod
    def make(cls, path, kind, bits=None):
        size = [] if bits is None else ['-b', str(bits)]
        form = ['-m', 'PEM'] if kind == 'rsa' else []
        _run(['ssh-keygen', '-q', '-t', kind, *size, *form, '-N', '', '-C', '', '-f', path])
        return cls(path)

    def pem(self):
        with open(self.path, encoding='ascii') as file:
            return file.read()

    def sshsig(self, text, namespace='asfaleia-auth'):
        armored = _run(['ssh-keygen', '-q', '-Y', 'sign', '-f', self.path, '-n', namespace], text).decode()
        return ''.join(row for row in armored.split('\n') if not row.startswith('-'))

    def decrypt(self, age_file):
        return _run(['age', '-d', '-i', self.path], age_file)


def certify(folder, authority, line, host=False):
    """A certificate by the authority for the public key of that line. @returns its public line."""
    path = os.path.join(folder, 'subject-' + os.urandom(6).hex())
    with open(path + '.pub', 'w', encoding='ascii') as file:
        file.write(line + '\n')
    _run(['ssh-keygen', '-q', '-s', authority.path, '-I', 'conformance', '-n', 'someone', '-V', '-1h:+1h',
          *(['-h'] if host else []), path + '.pub'])
    with open(path + '-cert.pub', encoding='ascii') as file:
        return ' '.join(file.read().split()[:2])


def check_by_openssh(folder, signature, text):
    """OpenSSH's word on an SSHSIG. @raises RuntimeError where it refuses."""
    path = os.path.join(folder, 'signature-' + os.urandom(6).hex())
    body = '\n'.join(re.findall('.{1,70}', b64(signature)))
    with open(path, 'w', encoding='ascii') as file:
        file.write(f'-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----\n')
    _run(['ssh-keygen', '-Y', 'check-novalidate', '-n', 'asfaleia-auth', '-s', path], text)
