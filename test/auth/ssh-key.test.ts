import { readFileSync } from 'node:fs'
import { createPublicKey } from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { p256 } from '@noble/curves/nist.js'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { createKeyObject } from '../../src/auth/key-object.ts'
import { formatFingerprint, isSound, parseKeyBlob, parsePublicKey, parseReceiver, type SshKey } from '../../src/auth/ssh-key.ts'
import { ProtocolError, type ErrorCode } from '../../src/protocol/errors.ts'
import { bigBytes, buildBlob, buildCertificate, certify, makeFolder, makeKey, needs, run, toBlob, toLine, type Field } from './openssh.ts'

interface Vectors {
  readonly accept: readonly { type: string; line: string; fingerprint: string }[]
  readonly refuse: readonly { name: string; code: ErrorCode; line: string }[]
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/keys.json', import.meta.url), 'utf8')) as Vectors

/** Returns the key's type, or the code with which parsing is refused. */
function outcome(parse: () => SshKey | ReturnType<typeof parseReceiver>): string {
  try {
    const parsed = parse()
    return 'type' in parsed ? parsed.type : 'a receiver'
  } catch (error) {
    if (error instanceof ProtocolError) return error.code
    throw error
  }
}

/** Parses a receiver with all checks. */
function receive(line: string): ReturnType<typeof parseReceiver> {
  const receiver = parseReceiver(Buffer.from(line, 'latin1'))
  if (receiver.unchecked !== undefined && !isSound(receiver.unchecked)) throw new ProtocolError('bad-key')
  return receiver
}

/** A number of `count` bits whose first and last bits are set. */
const odd = (count: number): bigint => (1n << BigInt(count - 1)) | 1n

const P = ed25519.Point.Fp.ORDER
const BASE = Buffer.from(ed25519.Point.BASE.toBytes())

function encodeY(y: bigint, sign = false): Buffer {
  const bytes = Buffer.alloc(32)
  bytes.set(bigBytes(y).toReversed())
  bytes[31]! |= sign ? 0x80 : 0
  return bytes
}

/** Whether a point of the curve has this y. */
function isOnCurve(y: bigint): boolean {
  try {
    ed25519.Point.fromBytes(encodeY(y))
    return true
  } catch {
    return false
  }
}

/** Returns the first y from 2 on for which `passes` is true. */
function findY(passes: (y: bigint) => boolean): bigint {
  for (let y = 2n; y < 100n; y++) if (passes(y)) return y
  throw new Error('no y below 100 passes')
}

/** Multiplies a point by the order of the base point, which leaves its small-order part. */
function smallPart(y: bigint): typeof ed25519.Point.BASE {
  const point = ed25519.Point.fromBytes(encodeY(y))
  return point.multiplyUnsafe(ed25519.Point.Fn.ORDER - 1n).add(point)
}

const OFF_CURVE = encodeY(findY((y) => !isOnCurve(y)))
const ORDER_8 = Buffer.from(smallPart(findY((y) => isOnCurve(y) && !smallPart(y).double().double().is0())).toBytes())

const g = Buffer.from(p256.Point.BASE.toBytes(false))
const withByte = (bytes: Buffer, at: number, byte: number): Buffer => {
  const copy = Buffer.from(bytes)
  copy[at] = byte
  return copy
}

const ED = 'ssh-ed25519'
const RSA = 'ssh-rsa'
const EC = 'ecdsa-sha2-nistp256'
const SK = 'sk-ssh-ed25519@openssh.com'
const SK_EC = 'sk-ecdsa-sha2-nistp256@openssh.com'
const ed = (point: Uint8Array): Buffer => buildBlob(ED, point)
const certificate = (change = {}): Buffer => buildCertificate('ssh-ed25519-cert-v01@openssh.com', [BASE], change)

describe('the test vectors', () => {
  test.each(vectors.accept)('accept a sound $type', ({ type, line, fingerprint }) => {
    const key = parsePublicKey(line)
    expect(key.type).toBe(type)
    expect(formatFingerprint(key.fingerprint)).toBe(fingerprint)
    expect(receive(line).fingerprint).toEqual(key.fingerprint)
    expect(Buffer.from(receive(fingerprint).fingerprint)).toEqual(Buffer.from(key.fingerprint))
    expect(parsePublicKey(Buffer.from(`${line} any thing ,ä\t`)).fingerprint).toEqual(key.fingerprint)
  })

  test.each(vectors.refuse)('fail with $code: $name', ({ code, line }) => {
    expect(outcome(() => parsePublicKey(line))).toBe(code)
    expect(() => receive(line)).toThrow(ProtocolError)
  })
})

describe('parseKeyBlob', () => {
  test.each<[string, string, Buffer]>([
    [ED, 'the base point', ed(BASE)],
    ['bad-key', 'ed25519: 31 bytes', ed(BASE.subarray(1))],
    ['bad-key', 'ed25519: 33 bytes', ed(Buffer.concat([BASE, Buffer.of(0)]))],
    ['bad-key', 'ed25519: an empty point', ed(Buffer.alloc(0))],
    ['bad-key', 'ed25519: off the curve', ed(OFF_CURVE)],
    ['bad-key', 'ed25519: the identity', ed(encodeY(1n))],
    ['bad-key', 'ed25519: the identity with a sign', ed(encodeY(1n, true))],
    ['bad-key', 'ed25519: order 2', ed(encodeY(P - 1n))],
    ['bad-key', 'ed25519: order 2 with a sign', ed(encodeY(P - 1n, true))],
    ['bad-key', 'ed25519: order 4', ed(encodeY(0n))],
    ['bad-key', 'ed25519: order 4 with a sign', ed(encodeY(0n, true))],
    ['bad-key', 'ed25519: order 8', ed(ORDER_8)],
    ['bad-key', 'ed25519: order 8 with the other sign', ed(withByte(ORDER_8, 31, ORDER_8[31]! ^ 0x80))],
    ['bad-key', 'ed25519: y = p', ed(encodeY(P))],
    ['bad-key', 'ed25519: y = p + 1', ed(encodeY(P + 1n))],
    ['bad-key', 'ed25519: y = p + 3, on the curve if it were reduced', ed(encodeY(P + 3n))],
    ['bad-key', 'ed25519: y = 2^255 - 1', ed(encodeY((1n << 255n) - 1n, true))],
    ['bad-key', 'a byte after the key', Buffer.concat([ed(BASE), Buffer.of(0)])],
    ['bad-key', 'a string after the key', buildBlob(ED, BASE, '')],

    [RSA, '2048 bits', buildBlob(RSA, 65_537n, odd(2048))],
    [RSA, '2049 bits', buildBlob(RSA, 65_537n, odd(2049))],
    [RSA, '8192 bits', buildBlob(RSA, 65_537n, odd(8192))],
    [RSA, 'an exponent of 2^32 + 1', buildBlob(RSA, (1n << 32n) + 1n, odd(2048))],
    [RSA, 'an exponent of 33 bits', buildBlob(RSA, (1n << 33n) - 1n, odd(2048))],
    ['bad-key', 'rsa: 1024 bits', buildBlob(RSA, 65_537n, odd(1024))],
    ['bad-key', 'rsa: 2047 bits', buildBlob(RSA, 65_537n, odd(2047))],
    ['bad-key', 'rsa: 8193 bits', buildBlob(RSA, 65_537n, odd(8193))],
    ['bad-key', 'rsa: an even modulus', buildBlob(RSA, 65_537n, odd(2048) + 1n)],
    ['bad-key', 'rsa: an exponent of 1', buildBlob(RSA, 1n, odd(2048))],
    ['bad-key', 'rsa: an exponent of 3', buildBlob(RSA, 3n, odd(2048))],
    ['bad-key', 'rsa: an exponent of 65535', buildBlob(RSA, 65_535n, odd(2048))],
    ['bad-key', 'rsa: an even exponent', buildBlob(RSA, 65_538n, odd(2048))],
    ['bad-key', 'rsa: an exponent of 34 bits', buildBlob(RSA, odd(34), odd(2048))],
    ['bad-key', 'rsa: an exponent of 64 bits', buildBlob(RSA, odd(64), odd(2048))],
    ['bad-key', 'rsa: no exponent', buildBlob(RSA, 0n, odd(2048))],
    ['bad-key', 'rsa: no modulus', buildBlob(RSA, 65_537n, 0n)],
    ['bad-key', 'rsa: a negative modulus', buildBlob(RSA, 65_537n, bigBytes(odd(2048)))],
    ['bad-key', 'rsa: a zero before the exponent', buildBlob(RSA, Buffer.of(0, 1, 0, 1), odd(2048))],
    ['bad-key', 'rsa: an unneeded zero before the modulus', buildBlob(RSA, 65_537n, Buffer.concat([Buffer.alloc(2), bigBytes(odd(2048))]))],
    ['bad-key', 'rsa: a byte after the key', Buffer.concat([buildBlob(RSA, 65_537n, odd(2048)), Buffer.of(0)])],

    [EC, 'the base point', buildBlob(EC, 'nistp256', g)],
    ['bad-key', 'ecdsa: off the curve', buildBlob(EC, 'nistp256', withByte(g, 64, g[64]! ^ 1))],
    ['bad-key', 'ecdsa: compressed', buildBlob(EC, 'nistp256', p256.Point.BASE.toBytes(true))],
    ['bad-key', 'ecdsa: hybrid', buildBlob(EC, 'nistp256', withByte(g, 0, 0x07))],
    ['bad-key', 'ecdsa: infinity', buildBlob(EC, 'nistp256', Buffer.of(0))],
    ['bad-key', 'ecdsa: zeros', buildBlob(EC, 'nistp256', withByte(Buffer.alloc(65), 0, 4))],
    ['bad-key', 'ecdsa: x over p', buildBlob(EC, 'nistp256', Buffer.concat([Buffer.of(4), Buffer.alloc(32, 0xff), g.subarray(33)]))],
    ['bad-key', 'ecdsa: a byte too many', buildBlob(EC, 'nistp256', Buffer.concat([g, Buffer.of(0)]))],
    ['bad-key', 'ecdsa: another curve', buildBlob(EC, 'nistp384', g)],
    ['bad-key', 'ecdsa: the point of another curve', buildBlob('ecdsa-sha2-nistp384', 'nistp384', g)],
    ['bad-key', 'ecdsa: no curve', buildBlob(EC, '', g)],

    [SK, 'with its application', buildBlob(SK, BASE, 'ssh:')],
    [SK_EC, 'with its application', buildBlob(SK_EC, 'nistp256', g, 'ssh:someone')],
    ['bad-key', 'sk: no application', buildBlob(SK, BASE)],
    ['bad-key', 'sk: an empty application', buildBlob(SK, BASE, '')],
    ['bad-key', 'sk: an application over the length limit', buildBlob(SK, BASE, 'x'.repeat(256))],
    ['bad-key', 'sk: a small-order point', buildBlob(SK, encodeY(1n), 'ssh:')],
    ['bad-key', 'sk-ecdsa: no application', buildBlob(SK_EC, 'nistp256', g)],
    ['bad-key', 'sk-ecdsa: off the curve', buildBlob(SK_EC, 'nistp256', withByte(g, 64, g[64]! ^ 1), 'ssh:')],

    [ED, 'a user certificate', certificate()],
    [ED, 'a certificate without principals and options', certificate({ principals: Buffer.alloc(0), extensions: Buffer.alloc(0) })],
    [
      ED,
      'a certificate by a FIDO key',
      certificate({
        authority: buildBlob(SK, BASE, 'ssh:'),
        signature: Buffer.concat([buildBlob(SK, Buffer.alloc(64)), Buffer.alloc(5)]),
      }),
    ],
    ['unsupported-key', 'a host certificate', certificate({ role: 2 })],
    ['bad-key', 'a certificate of kind 0', certificate({ role: 0 })],
    ['bad-key', 'a certificate of kind 3', certificate({ role: 3 })],
    ['bad-key', 'a certificate with a byte after it', Buffer.concat([certificate(), Buffer.of(0)])],
    ['bad-key', 'a certificate with half a principal', certificate({ principals: Buffer.of(0, 0, 0, 9, 1) })],
    ['bad-key', 'a certificate with an option without data', certificate({ critical: buildBlob('force-command') })],
    ['bad-key', 'a certificate with a repeated option', certificate({ extensions: buildBlob('a', '', 'a', '') })],
    ['bad-key', 'a certificate with unsorted options', certificate({ extensions: buildBlob('b', '', 'a', '') })],
    ['bad-key', 'a certificate signed by a certificate', certificate({ authority: certificate() })],
    ['bad-key', 'a certificate without authority', certificate({ authority: Buffer.alloc(0) })],
    ['bad-key', 'a certificate without signature', certificate({ signature: Buffer.alloc(0) })],
    [
      'bad-key',
      'a certificate with a byte after the signature',
      certificate({ signature: Buffer.concat([buildBlob(ED, 'x'), Buffer.of(0)]) }),
    ],
    ['bad-key', 'a certificate of a small-order point', buildCertificate('ssh-ed25519-cert-v01@openssh.com', [encodeY(1n)])],
    [
      'bad-key',
      'a host certificate of a small-order point',
      buildCertificate('ssh-ed25519-cert-v01@openssh.com', [encodeY(1n)], { role: 2 }),
    ],
    ['bad-key', 'a certificate of a weak rsa key', buildCertificate('ssh-rsa-cert-v01@openssh.com', [65_537n, odd(1024)])],

    ['unsupported-key', 'ssh-dss', buildBlob('ssh-dss', odd(1024), odd(160), 2n, 4n)],
    ['unsupported-key', 'ssh-ed448', buildBlob('ssh-ed448', Buffer.alloc(57, 3))],
    ['unsupported-key', 'an unknown vendor type', buildBlob('new@example.com', 'x')],
    ['unsupported-key', 'a certificate of ssh-dss', buildCertificate('ssh-dss-cert-v01@openssh.com', [])],
    [
      'unsupported-key',
      'a certificate type with the wrong spelling',
      buildCertificate('sk-ssh-ed25519@openssh.com-cert-v01@openssh.com', [BASE, 'ssh:']),
    ],
    ['bad-key', 'a type that is not a name', buildBlob('a,b', BASE)],
    ['bad-key', 'no type', buildBlob('', BASE)],
    ['bad-key', 'only a length', Buffer.of(0xff, 0xff, 0xff, 0xff)],
  ])('gives %s: %s', (expected, _name, blob) => {
    expect(outcome(() => parseKeyBlob(blob))).toBe(expected)
  })

  const sound: readonly [string, readonly Field[]][] = [
    [ED, [BASE]],
    [RSA, [65_537n, odd(2048)]],
    [EC, ['nistp256', g]],
    [SK, [BASE, 'ssh:']],
    [SK_EC, ['nistp256', g, 'ssh:']],
  ]

  test.each(sound)('reads a certificate of %s as its key', (type, fields) => {
    const plain = parseKeyBlob(buildBlob(type, ...fields))
    const name = `${type.replace('@openssh.com', '')}-cert-v01@openssh.com`
    const key = parseKeyBlob(buildCertificate(name, fields))
    expect({ ...key, blob: Buffer.from(key.blob) }).toEqual({ ...plain, blob: Buffer.from(plain.blob) })
  })

  test.each([...sound, ['ssh-ed25519-cert-v01@openssh.com', []] as const])('refuses %s cut at any length', (type, fields) => {
    const blob = fields.length === 0 ? certificate() : buildBlob(type, ...fields)
    for (let length = 0; length < blob.length; length++) {
      expect(outcome(() => parseKeyBlob(blob.subarray(0, length)))).toBe('bad-key')
    }
  })

  test('with "form" skips only the check of the point', () => {
    for (const blob of [ed(OFF_CURVE), ed(encodeY(1n)), buildBlob(EC, 'nistp256', withByte(g, 64, g[64]! ^ 1))]) {
      expect(outcome(() => parseKeyBlob(blob, 'form'))).not.toBe('bad-key')
    }
    for (const blob of [ed(encodeY(P)), ed(BASE.subarray(1)), buildBlob(RSA, 3n, odd(2048))]) {
      expect(outcome(() => parseKeyBlob(blob, 'form'))).toBe('bad-key')
    }
  })
})

describe('parsePublicKey', () => {
  const line = toLine(ed(BASE))
  const [type, base64] = line.split(' ') as [string, string]
  // 25 bytes: the last character before == holds two bits, and another one decodes to the same.
  const stray = toLine(buildBlob('new@example.com', 'ab')).replace(/g==$/, 'h==')

  test.each([
    ['an empty text', ''],
    ['only a type', type],
    ['a type and a space', `${type} `],
    ['only base64', base64],
    ['two spaces', `${type}  ${base64}`],
    ['a tab', `${type}\t${base64}`],
    ['a leading space', ` ${line}`],
    ['leading options, as in authorized_keys', `no-pty ${line}`],
    ['a line break at its end', `${line}\n`],
    ['a line break after the comment', `${line} me\n`],
    ['two lines', `${line} me\n${line}`],
    ['a CR', `${line}\r`],
    ['a NUL', `${line} \0`],
    ['another type', `ssh-rsa ${base64}`],
    ['a type in upper case', `SSH-ED25519 ${base64}`],
    ['no padding', toLine(buildBlob('new@example.com', 'ab')).replaceAll('=', '')],
    ['too much padding', `${line}=`],
    ['a missing last character', line.slice(0, -1)],
    ['stray bits', stray],
    ['the URL-safe alphabet', `${type} ${base64.replaceAll('m', '-')}`],
    ['a line break in the base64', `${type} ${base64.slice(0, 40)}\n${base64.slice(40)}`],
    ['a quoted type', `"${type}" ${base64}`],
  ])('refuses a line with %s', (_name, text) => {
    expect(outcome(() => parsePublicKey(text))).toBe('bad-key')
    expect(outcome(() => parsePublicKey(Buffer.from(text)))).toBe('bad-key')
  })

  test('accepts any comment, or no comment', () => {
    for (const comment of [' ', ' me@here', ' a  b\t;é\x7f', '  ']) {
      expect(parsePublicKey(line + comment).fingerprint).toEqual(parsePublicKey(line).fingerprint)
    }
  })
})

describe('parseReceiver', () => {
  const key = parseKeyBlob(ed(BASE))
  const text = formatFingerprint(key.fingerprint)

  test.each([
    ['that is cut short', text.slice(0, -1)],
    ['that is too long', `${text}A`],
    ['with padding', `${text}=`],
    ['with stray bits', text.slice(0, -1) + String.fromCharCode(text.charCodeAt(text.length - 1) + 1)],
    ['in the URL-safe alphabet', `SHA256:${'-'.repeat(42)}8`],
    ['in lower case', text.toLowerCase()],
    ['of another hash', text.replace('SHA256', 'SHA512')],
    ['with a comment', `${text} me`],
    ['that is empty', 'SHA256:'],
    ['that is an empty field', ''],
  ])('refuses a fingerprint %s', (_name, field) => {
    expect(() => parseReceiver(Buffer.from(field))).toThrow(expect.objectContaining({ code: 'bad-key' }))
  })

  test('checks a key by its form, and returns it for the check of its point', () => {
    const off = toLine(ed(OFF_CURVE))
    const { fingerprint, unchecked } = parseReceiver(Buffer.from(off))
    expect(fingerprint).toEqual(parseKeyBlob(ed(OFF_CURVE), 'form').fingerprint)
    expect(unchecked && isSound(unchecked)).toBe(false)
    expect(outcome(() => receive(off))).toBe('bad-key')
    expect(() => parseReceiver(Buffer.from(toLine(ed(encodeY(P)))))).toThrow(expect.objectContaining({ code: 'bad-key' }))
    // Of a fingerprint nothing more can be checked, and an RSA key has no point.
    expect(parseReceiver(Buffer.from(formatFingerprint(fingerprint))).unchecked).toBeUndefined()
    const rsa = vectors.accept.find(({ type }) => type === 'ssh-rsa')!
    expect(parseReceiver(Buffer.from(rsa.line)).unchecked).toBeUndefined()
  })

  test('reads the text of any 32-byte fingerprint', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (fingerprint) => {
        const written = formatFingerprint(fingerprint)
        expect(Buffer.compare(parseReceiver(Buffer.from(written)).fingerprint, fingerprint)).toBe(0)
      }),
    )
  })
})

describe('for any input', () => {
  const parseAll = (bytes: Uint8Array): void => {
    outcome(() => parsePublicKey(bytes))
    outcome(() => parseKeyBlob(bytes))
    outcome(() => parseKeyBlob(bytes, 'form'))
  }

  test('parsing throws only a ProtocolError', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.string().map((text) => Buffer.from(text)),
          fc
            .tuple(fc.constantFrom(...vectors.accept.map(({ line }) => toBlob(line))), fc.nat(), fc.uint8Array())
            .map(([blob, at, tail]) => Buffer.concat([blob.subarray(0, at % blob.length), tail])),
        ),
        (bytes) => {
          expect(() => parseAll(bytes)).not.toThrow()
          expect(() => parseAll(Buffer.from(toLine(Buffer.concat([buildBlob(ED), bytes]))))).not.toThrow()
        },
      ),
    )
  })

  // Plain keys only: bytes around the key in a certificate do not affect its fingerprint.
  const plain = vectors.accept.map(({ line }) => line).filter((line) => !line.includes('-cert-'))

  test('a key with one changed byte is refused or is another key', () => {
    fc.assert(
      fc.property(fc.constantFrom(...plain), fc.nat(), fc.integer({ min: 1, max: 255 }), (line, position, change) => {
        const blob = toBlob(line)
        const at = position % blob.length
        const other = withByte(blob, at, blob[at]! ^ change)
        try {
          expect(parseKeyBlob(other).fingerprint).not.toEqual(parsePublicKey(line).fingerprint)
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('a line with one changed character is refused or is another key', () => {
    fc.assert(
      fc.property(fc.constantFrom(...plain), fc.nat(), fc.integer({ min: 0, max: 255 }), (line, position, byte) => {
        const at = position % line.length
        fc.pre(byte !== line.charCodeAt(at))
        const other = withByte(Buffer.from(line), at, byte)
        try {
          expect(parsePublicKey(other).fingerprint).not.toEqual(parsePublicKey(line).fingerprint)
        } catch (error) {
          expect(error).toBeInstanceOf(ProtocolError)
        }
      }),
      { numRuns: 500 },
    )
  })
})

describe('interoperation with ssh-keygen', () => {
  beforeEach(needs('ssh-keygen'))

  const KINDS = [
    ['ed25519', '256'],
    ['rsa', '2048'],
    ['rsa', '3071'],
    ['ecdsa', '256'],
    ['ecdsa', '384'],
    ['ecdsa', '521'],
  ] as const

  test.each(KINDS)('its %s keys of %s bits, their fingerprints, PKCS8 and certificates are read', (type, bits) => {
    const folder = makeFolder()
    const authority = makeKey(folder, 'authority', ['-t', 'ecdsa'])
    const files = makeKey(folder, 'key', ['-t', type, '-b', bits])
    const key = parsePublicKey(files.line)
    expect(run('ssh-keygen', ['-lf', `${files.path}.pub`]).toString()).toContain(` ${formatFingerprint(key.fingerprint)} `)
    // ssh-keygen cannot export ed25519 keys as PKCS8; test/auth/sshsig.test.ts covers those.
    if (type !== 'ed25519') {
      const theirs = createPublicKey(run('ssh-keygen', ['-e', '-m', 'PKCS8', '-f', `${files.path}.pub`]))
      expect(createKeyObject(key.material).equals(theirs)).toBe(true)
    }
    expect(key.canDecrypt).toBe(type === 'ed25519' || type === 'rsa')

    const options = ['-n', 'me,you', '-O', 'force-command=true', '-O', 'extension:login@example.com=me', '-V', '+1d', '-z', '9']
    const inner = parsePublicKey(certify(authority, files, options))
    expect(inner.type).toBe(key.type)
    expect(inner.canDecrypt).toBe(key.canDecrypt)
    expect(Buffer.from(inner.blob)).toEqual(Buffer.from(key.blob))
    expect(inner.fingerprint).toEqual(key.fingerprint)
    expect(outcome(() => parsePublicKey(certify(authority, files, ['-h', '-n', 'host'])))).toBe('unsupported-key')
  })
})
