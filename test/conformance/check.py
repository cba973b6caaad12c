"""What a check is, and what it is given: connections by every door, keys, logins, and a marker that must never come back."""
import base64
import os
import re
import threading
import time

import connection
from connection import Failure, expect, open_tcp, open_unix, open_websocket, shown
from key import Ed25519, FileKey, Rsa, b64, sshsig

ALL = []
"""Every check, in the order of the protocol's sections."""


class Check:
    def __init__(self, name, run, door=None, slow=False, needs=None):
        self.name, self.run, self.door, self.slow, self.needs = name, run, door, slow, needs


def check(name, doors='', slow=False, needs=None):
    """
    Registers a function as a check. By `doors` it runs once for each of these doors (`tcp unix ws`), otherwise by TCP.
    @param needs the door or the option of the relay's without which it is no check at all; `defaults`: no option at all.
    """
    def register(run):
        if not doors:
            ALL.append(Check(name, run, None, slow, needs))
        for door in doors.split():
            ALL.append(Check(f'{name} [{door}]', run, door, slow, door))
        return run
    return register


CHALLENGE = re.compile(r'asfaleia/1 auth (\S+) ([0-9]+) ([A-Za-z0-9_-]{43})=?')
"""Section 3. Whether base64url is padded is not said; both are taken."""


class Keyring:
    """Keys of ssh-keygen's, made once, the slow ones in the background."""

    def __init__(self, folder):
        self._folder = folder
        self._made = {}
        self._lock = threading.Lock()

    def _entry(self, kind, bits, which):
        name = f'{kind}-{bits or 0}-{which}'
        with self._lock:
            if name not in self._made:
                slot = {}

                def make():
                    try:
                        slot['key'] = FileKey.make(os.path.join(self._folder, name), kind, bits)
                    except Exception as error:  # told to the check that wants the key
                        slot['error'] = error
                thread = threading.Thread(target=make, daemon=True)
                thread.start()
                self._made[name] = (thread, slot)
            return self._made[name]

    def begin(self, kind, bits=None, which='a'):
        self._entry(kind, bits, which)

    def get(self, kind, bits=None, which='a'):
        thread, slot = self._entry(kind, bits, which)
        thread.join()
        if 'error' in slot:
            raise slot['error']
        return slot['key']

    def settle(self):
        """Waits until no key is being made any more."""
        for thread, _ in self._made.values():
            thread.join()


class Trial:
    """One run of one check."""

    def __init__(self, options, keys, door=None):
        self.options, self.keys, self.door = options, keys, door
        self.folder = options.folder
        self.names = options.name
        self.name = options.name[0]
        self.mark = 'Zq' + os.urandom(9).hex() + 'qZ'
        self.notes = []
        self._forbidden = {self.mark}
        self._opened = []

    # connections

    def dial(self, door=None):
        door = door or self.door or 'tcp'
        if door == 'unix':
            return self.keep(open_unix(self.options.unix))
        if door == 'ws':
            return self.keep(open_websocket(self.options.ws))
        return self.keep(open_tcp(self.options.tcp))

    def keep(self, opened):
        """Has a connection watched for the marker and closed at the end."""
        if self.options.proxy and type(opened) is connection.Connection:
            opened.raw(b'PROXY TCP6 fc00:dead:beef:4dad::%x:%x ::1 4321 1234\r\n' % (
                len(self._opened) + 1, int.from_bytes(os.urandom(2), 'big') | 1))
        self._opened.append(opened)
        return opened

    def finish(self):
        for opened in self._opened:
            opened.close()

    def forbid(self, text):
        """This must not come back either."""
        if len(text) >= 12:
            self._forbidden.add(text)

    def look_for_echoes(self):
        for opened in self._opened:
            low = bytes(opened.received).lower()
            for text in self._forbidden:
                raw = text.encode() if isinstance(text, str) else text
                expect(raw.lower() not in low, f'what the peer sent came back: {shown(text)}')
                core = base64.b64encode(raw)[4:-4].lower()
                expect(len(core) < 12 or core not in low, f'what the peer sent came back in base64: {shown(text)}')

    # words

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def every(self, rows, run):
        """Runs each row, (name, arguments…), and fails with how many failed and the first of them."""
        wrong = []
        for name, *arguments in rows:
            try:
                run(*arguments)
            except (Failure, OSError) as failure:
                wrong.append(f'{name}: {failure}')
        more = f' | and {len(wrong) - 8} more' if len(wrong) > 8 else ''
        expect(not wrong, ' | '.join(wrong[:8]) + more)

    # proving keys

    def person(self):
        return Ed25519()

    def rsa(self, bits=2048):
        return Rsa(self.keys.get('rsa', bits).pem())

    def challenge(self, conn, line, *more):
        """AUTH, patient with a rate limit. @returns the handle and the challenge's bytes."""
        for _ in range(10):
            heard = conn.ask(0, line, *more)
            if heard[:2] != ['99', 'rate-limited']:
                break
            wait = int(heard[3]) if len(heard) > 3 else 1
            expect(wait <= 30, f'rate-limited for {wait} s')
            self.note('was rate-limited at AUTH and came back when told')
            time.sleep(wait)
        handle, body = conn.wants(1, heard)
        return handle, base64.b64decode(body, validate=True)

    def text(self, challenge, handle, name=None):
        """The challenge's text where it is of section 3's form."""
        match = CHALLENGE.fullmatch(challenge.decode('latin-1'))
        expect(match is not None, f'not a challenge of the form: {shown(challenge)}')
        expect(match[1] == (name or self.name), f'a challenge of {shown(match[1])}')
        expect(match[2] == handle, f'the handle {shown(match[2])} in the text, {shown(handle)} in the packet')
        return challenge

    def sign_in(self, conn, key):
        """@returns the token, proven by signature, and how long it lasts."""
        handle, challenge = self.challenge(conn, key.line, 'sign')
        answer = b64(sshsig(key, self.text(challenge, handle)))
        token, seconds = conn.answered(12, 2, handle, answer)
        return token, int(seconds)

    def login(self, conn, key):
        return self.sign_in(conn, key)[0]

    def joined(self, key=None, door=None):
        """@returns a connection, the key it proved, its token."""
        key = key or self.person()
        conn = self.dial(door)
        return conn, key, self.login(conn, key)


def payload(size=32):
    """So many characters of random base64; a multiple of four."""
    return base64.b64encode(os.urandom(size // 4 * 3)).decode()


def padded(token):
    return token + '=' * (-len(token) % 4)


def decode_url(text):
    return base64.urlsafe_b64decode(padded(text))
