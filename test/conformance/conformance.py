#!/usr/bin/env python3
"""A client of `asfaleia/1` in another language, written from the protocol's text alone, that checks a running relay.

    conformance.py --tcp HOST:PORT [--unix PATH] [--ws HOST:PORT] [--name NAME] [--only PATTERN] [--list] [--json]
                   [--slow] [--proxy] [--brief] [--small]

Prints `ok NAME` or `FAIL NAME: why` for each check, and `note NAME: what` for what the text leaves open and this relay
decided. Exit code 0 if all are ok, 1 if one is not, 2 for wrong usage. With --json each line is one JSON object with
`name`, `ok`, `why`, `notes` and `seconds`. Python 3.9 with Debian's python3-minimal is enough; the programs age and
ssh-keygen are needed. The relay must run with its default limits, and take as many logins as a test makes.
"""
import argparse
import fnmatch
import os
import signal
import sys
import threading
import time
import traceback

sys.dont_write_bytecode = True

import check
import wire
import strict
import proof
import mailbox
import claim
import door
import load
from connection import Failure

AREAS = (wire, strict, proof, mailbox, claim, door, load)


def options():
    parser = argparse.ArgumentParser(description='checks a relay against asfaleia/1')
    parser.add_argument('--tcp', metavar='HOST:PORT', help='the raw door')
    parser.add_argument('--unix', metavar='PATH', help='the raw door on a unix socket')
    parser.add_argument('--ws', metavar='HOST:PORT', help='the listener with the WebSocket door')
    parser.add_argument('--name', action='append',
        help='a name of the relay; the first is the one that counts without HELLO (localhost)')
    parser.add_argument('--only', metavar='PATTERN',
        help='only checks whose name contains this, or matches it with * and ?')
    parser.add_argument('--proxy', action='store_true', help='the raw doors want PROXY v1 lines')
    parser.add_argument('--brief', action='store_true',
        help='the relay runs with --token 1m --hold 1m: only what that shows, in a minute')
    parser.add_argument('--small', action='store_true', help='the relay runs with --memory 2M: only what that shows')
    parser.add_argument('--lenient', action='store_true',
        help='the relay holds messages and tokens for other times than the defaults')
    parser.add_argument('--slow', action='store_true', help='with the deadlines: a quarter of an hour')
    parser.add_argument('--list', action='store_true', help='print the names of the checks')
    parser.add_argument('--json', action='store_true', help='a JSON object a line')
    chosen = parser.parse_args()
    chosen.name = chosen.name or ['localhost']
    if not chosen.list and chosen.tcp is None:
        parser.error('--tcp is needed')
    return chosen


def wanted(one, chosen):
    if one.slow and not chosen.slow:
        return False
    special = [option for option in ('brief', 'small') if getattr(chosen, option)]
    if special and one.needs not in special:
        return False
    if one.needs == 'defaults' and chosen.proxy:
        return False
    if one.needs in ('unix', 'ws', 'proxy', 'brief', 'small') and not getattr(chosen, one.needs):
        return False
    pattern = chosen.only
    return pattern is None or pattern in one.name or fnmatch.fnmatchcase(one.name, pattern)


def text_of(value):
    """JSON, which python3-minimal has no module for: strings, numbers, truth, lists and dictionaries."""
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, str):
        plain = (c if ' ' <= c <= '~' and c not in '"\\' else ''.join(f'\\u{ord(p):04x}' for p in _utf16(c)) for c in value)
        return '"' + ''.join(plain) + '"'
    if isinstance(value, list):
        return '[' + ','.join(map(text_of, value)) + ']'
    if isinstance(value, dict):
        return '{' + ','.join(f'{text_of(key)}:{text_of(item)}' for key, item in value.items()) + '}'
    return str(value)


def _utf16(character):
    data = character.encode('utf-16-be', 'surrogatepass')
    return [chr(data[at] << 8 | data[at + 1]) for at in range(0, len(data), 2)]


def run(one, chosen, keys):
    """@returns what is told of one check."""
    begun = time.monotonic()
    trial = check.Trial(chosen, keys, one.door)
    why = ''
    try:
        one.run(trial)
        trial.look_for_echoes()
    except Failure as failure:
        why = str(failure)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        why = f'{type(error).__name__}: {error} ({os.path.basename(where.filename)}:{where.lineno})'
    finally:
        trial.finish()
    return {'name': one.name, 'ok': not why, 'why': why, 'notes': trial.notes,
    'seconds': round(time.monotonic() - begun, 2)}


def tell(result, chosen):
    if chosen.json:
        print(text_of(result), flush=True)
        return
    print(f'ok {result["name"]}' if result['ok'] else f'FAIL {result["name"]}: {result["why"]}', flush=True)
    for text in result['notes']:
        print(f'note {result["name"]}: {text}', flush=True)


def main():
    chosen = options()
    checks = [one for one in check.ALL if wanted(one, chosen)]
    if chosen.list:
        for one in checks:
            print(text_of(one.name) if chosen.json else one.name)
        return 0
    chosen.folder = os.path.join(os.environ.get('TMPDIR', '/tmp'), 'conformance-' + os.urandom(8).hex())
    os.mkdir(chosen.folder, 0o700)
    # An end by signal clears the folder, too: sys.exit runs what stands under `finally`.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(2))
    try:
        keys = check.Keyring(chosen.folder)
        for bits in (2048, 3072, 4096):
            keys.begin('rsa', bits)
        results = []
        # Those that only wait do so beside the others.
        waiting = [threading.Thread(target=lambda one=one: results.append(run(one, chosen,
            keys))) for one in checks if one.slow]
        for thread in waiting:
            thread.start()
        failed = False
        for one in checks:
            if not one.slow:
                result = run(one, chosen, keys)
                failed = failed or not result['ok']
                tell(result, chosen)
        for thread in waiting:
            thread.join()
        for result in results:
            failed = failed or not result['ok']
            tell(result, chosen)
        return 1 if failed or not checks else 0
    finally:
        keys.settle()
        for name in os.listdir(chosen.folder):
            os.unlink(os.path.join(chosen.folder, name))
        os.rmdir(chosen.folder)


if __name__ == '__main__':
    sys.exit(main())
