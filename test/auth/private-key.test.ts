import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import {
  generatePrivateKey,
  parsePrivateKey,
  PrivateKeyError,
  type PrivateKeyErrorCode,
} from '../../src/auth/private-key.ts'
import { parsePublicKey } from '../../src/auth/ssh-key.ts'
import { buildBlob, makeFidoKey, makeFolder, makeKey, needs, run, toBlob } from './openssh.ts'

/** The code that parsing is refused with; undefined where it is not. */
function outcome(file: Uint8Array | string, passphrase?: string): PrivateKeyErrorCode | undefined {
  try {
    parsePrivateKey(Buffer.from(file), passphrase)
    return undefined
  } catch (error) {
    if (error instanceof PrivateKeyError) return error.code
    throw error
  }
}

function toPem(blob: Uint8Array, label = 'OPENSSH PRIVATE KEY'): string {
  const base64 = Buffer.from(blob).toString('base64').replace(/.{70}/g, '$&\n').trimEnd()
  return `-----BEGIN ${label}-----\n${base64}\n-----END ${label}-----\n`
}

const fromPem = (text: string): Buffer => Buffer.from(text.replaceAll(/-----.*-----|\n/g, ''), 'base64')

const MAGIC = Buffer.from('openssh-key-v1\0')
const mine = generatePrivateKey('me')
const other = generatePrivateKey('other')
const blob = fromPem(mine.file)
const point = toBlob(mine.public).subarray(-32)
const seed = blob.subarray(blob.lastIndexOf(point) - 32, blob.lastIndexOf(point))

/** An OpenSSH container around the key in `mine`, with its parts exchanged. */
function container(change: {
  cipher?: string
  kdf?: string
  keys?: number
  public?: Uint8Array
  private?: Uint8Array
}): string {
  const inner = buildBlob(7, 7, 'ssh-ed25519', point, Buffer.concat([seed, point]), 'me')
  const padded = Buffer.concat([inner, Buffer.of(1, 2, 3, 4, 5, 6, 7).subarray(0, (8 - (inner.length % 8)) % 8)])
  return toPem(
    Buffer.concat([
      MAGIC,
      buildBlob(change.cipher ?? 'none', change.kdf ?? 'none', '', change.keys ?? 1),
      buildBlob(change.public ?? toBlob(mine.public), change.private ?? padded),
    ]),
  )
}

test('a new key reads back, and its halves belong together', () => {
  const key = parsePrivateKey(Buffer.from(mine.file))
  expect(key.public.fingerprint).toEqual(parsePublicKey(mine.public).fingerprint)
  expect(mine.public.endsWith(' me')).toBe(true)
  expect(generatePrivateKey('').public.split(' ')).toHaveLength(2)
  expect(outcome(container({}))).toBeUndefined()
  expect(outcome(mine.file.replaceAll('\n', '\r\n'))).toBeUndefined()
  expect(outcome(mine.file.trimEnd())).toBeUndefined()
})

test('a key whose seed begins with zeros is read, which sshpk takes for a shorter number', () => {
  for (const zeros of [1, 2, 31]) {
    const small = Buffer.concat([Buffer.alloc(zeros), Buffer.alloc(32 - zeros, 0x51)])
    const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), small])
    const { x } = createPublicKey(createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })).export({ format: 'jwk' })
    const a = Buffer.from(x!, 'base64url')
    const inner = buildBlob(7, 7, 'ssh-ed25519', a, Buffer.concat([small, a]), 'me')
    const padded = Buffer.concat([inner, Buffer.of(1, 2, 3, 4, 5, 6, 7).subarray(0, (8 - (inner.length % 8)) % 8)])
    expect(outcome(container({ public: buildBlob('ssh-ed25519', a), private: padded }))).toBeUndefined()
  }
})

test('a comment with a line break is refused', () => {
  for (const comment of ['a\nb', 'a\rb', 'a\0b']) expect(() => generatePrivateKey(comment)).toThrow(TypeError)
})

function pem(key: KeyObject, type: 'pkcs8' | 'pkcs1' | 'sec1', passphrase?: string): string {
  const plain = { format: 'pem', type } as const
  return key.export(passphrase === undefined ? plain : { ...plain, cipher: 'aes-256-cbc', passphrase }).toString()
}

describe('PEM', () => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey
  const ed25519 = generateKeyPairSync('ed25519').privateKey

  test.each([
    ['ssh-rsa', 'pkcs8', rsa],
    ['ssh-rsa', 'pkcs1', rsa],
    ['ecdsa-sha2-nistp384', 'pkcs8', ec],
    ['ecdsa-sha2-nistp384', 'sec1', ec],
    ['ssh-ed25519', 'pkcs8', ed25519],
  ] as const)('%s as %s, encrypted and not', (type, form, key) => {
    const plain = parsePrivateKey(Buffer.from(pem(key, form)))
    expect(plain.public.type).toBe(type)
    expect(plain.keyObject.equals(key)).toBe(true)
    const encrypted = pem(key, form, 'open it')
    expect(parsePrivateKey(Buffer.from(encrypted), 'open it').public).toEqual(plain.public)
    expect(outcome(encrypted)).toBe('needs-passphrase')
    expect(outcome(encrypted, 'open')).toBe('wrong-passphrase')
    expect(outcome(encrypted, '')).toBe('wrong-passphrase')
  })

  test.each<[PrivateKeyErrorCode, string, string]>([
    ['unsupported', 'RSA of 1024 bits', pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey, 'pkcs8')],
    [
      'unsupported',
      'RSA with an exponent of 3',
      pem(generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }).privateKey, 'pkcs8'),
    ],
    ['unsupported', 'RSA-PSS', pem(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey, 'pkcs8')],
    ['unsupported', 'another curve', pem(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey, 'pkcs8')],
    [
      'unsupported',
      'a curve without a name in JWK',
      pem(generateKeyPairSync('ec', { namedCurve: 'brainpoolP256r1' }).privateKey, 'pkcs8'),
    ],
    ['unsupported', 'x25519', pem(generateKeyPairSync('x25519').privateKey, 'pkcs8')],
    ['unsupported', 'ed448', pem(generateKeyPairSync('ed448').privateKey, 'pkcs8')],
    [
      'not-a-private-key',
      'a public key',
      generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }).toString(),
    ],
    ['not-a-private-key', 'another label', toPem(Buffer.alloc(48), 'RSA PRIVATE KEY')],
    ['not-a-private-key', 'junk in a label', toPem(Buffer.alloc(48), 'PRIVATE KEY')],
  ])('%s: %s', (code, _name, file) => {
    expect(outcome(file)).toBe(code)
  })
})

describe('the OpenSSH container', () => {
  const flipped = Buffer.from(blob)
  flipped[blob.indexOf(seed) + 3]! ^= 1

  test.each<[PrivateKeyErrorCode, string, string]>([
    ['not-a-private-key', 'nothing', ''],
    ['not-a-private-key', 'a public key', mine.public],
    [
      'not-a-private-key',
      'nothing between the lines',
      '-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n',
    ],
    ['not-a-private-key', 'a text before it', `x\n${mine.file}`],
    ['not-a-private-key', 'two of them', mine.file + other.file],
    ['not-a-private-key', 'another magic', toPem(Buffer.concat([Buffer.from('openssh-key-v2\0'), blob.subarray(15)]))],
    ['not-a-private-key', 'a byte after it', toPem(Buffer.concat([blob, Buffer.of(0)]))],
    ['not-a-private-key', 'a byte less', toPem(blob.subarray(0, -1))],
    ['not-a-private-key', 'base64 with a character less', mine.file.replace(/.=*\n-----END/, '\n-----END')],
    ['not-a-private-key', 'the public half of another key', container({ public: toBlob(other.public) })],
    ['not-a-private-key', 'a seed that is not the key’s', toPem(flipped)],
    ['not-a-private-key', 'a private part that is empty', container({ private: Buffer.alloc(0) })],
    [
      'not-a-private-key',
      'check numbers that differ',
      container({ private: buildBlob(7, 8, 'ssh-ed25519', point, Buffer.concat([seed, point]), 'me') }),
    ],
    ['not-a-private-key', 'a cipher without a kdf', container({ cipher: 'aes256-ctr' })],
    ['not-a-private-key', 'a kdf without a cipher', container({ kdf: 'bcrypt' })],
    ['unsupported', 'no key', container({ keys: 0 })],
    ['unsupported', 'two keys', container({ keys: 2 })],
    ['unsupported', 'another kdf', container({ cipher: 'aes256-ctr', kdf: 'argon2' })],
    ['unsupported', 'another cipher', container({ cipher: 'rot13', kdf: 'bcrypt' })],
    ['needs-token', 'a FIDO key', container({ public: makeFidoKey('ed25519').blob })],
    [
      'unsupported',
      'a public half that is no sound key',
      container({ public: buildBlob('ssh-ed25519', point.subarray(1)) }),
    ],
    ['unsupported', 'ssh-dss', container({ public: buildBlob('ssh-dss', 1n, 1n, 1n, 1n) })],
  ])('%s: %s', (code, _name, file) => {
    expect(outcome(file)).toBe(code)
  })
})

test('whatever comes, only a PrivateKeyError is thrown, and it holds nothing of the file', () => {
  const secrets = [seed.toString('base64').slice(0, 20), seed.toString('hex'), seed.toString('latin1')]
  fc.assert(
    fc.property(fc.nat(blob.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const bytes = Buffer.from(blob)
      bytes[at]! ^= change
      try {
        // Check numbers, comment and padding do not count; the key is the same, or there is none.
        const key = parsePrivateKey(Buffer.from(toPem(bytes)), 'x')
        expect(key.public.fingerprint).toEqual(parsePublicKey(mine.public).fingerprint)
      } catch (error) {
        expect(error).toBeInstanceOf(PrivateKeyError)
        const text = inspect(error, { depth: 9, showHidden: true })
        for (const secret of secrets) expect(text).not.toContain(secret)
      }
    }),
    { numRuns: 300 },
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.uint8Array().map((bytes) => Buffer.from(toPem(bytes))),
      ),
      (bytes) => {
        expect(outcome(bytes, 'x')).toBeDefined()
      },
    ),
  )
})

test('a key that is printed shows nothing secret', () => {
  const key = parsePrivateKey(Buffer.from(mine.file))
  const jwk = createPrivateKey(pem(key.keyObject, 'pkcs8')).export({ format: 'jwk' })
  expect(Buffer.from(jwk.d!, 'base64url')).toEqual(Buffer.from(seed))
  const text = inspect(key, { depth: 9, showHidden: true }) + JSON.stringify(key)
  expect(text).not.toContain(jwk.d)
  expect(text).not.toContain(seed.toString('hex').replaceAll(/../g, '$& ').trim().slice(0, 30))
})

describe('beside ssh-keygen', () => {
  beforeEach(needs('ssh-keygen'))

  test('it takes a new key and its comment', () => {
    const folder = makeFolder()
    for (const comment of ['', 'me@here', 'two words ü']) {
      const key = generatePrivateKey(comment)
      const path = join(folder, 'key')
      writeFileSync(path, key.file, { mode: 0o600 })
      expect(run('ssh-keygen', ['-y', '-f', path]).toString().trimEnd()).toBe(key.public)
    }
  })

  test.each([
    ['ed25519', '256'],
    ['rsa', '2048'],
    ['ecdsa', '256'],
    ['ecdsa', '384'],
    ['ecdsa', '521'],
  ])('its %s keys of %s bits, encrypted and in every form', (type, bits) => {
    const folder = makeFolder()
    const files = makeKey(folder, 'key', ['-t', type, '-b', bits])
    const { fingerprint } = parsePublicKey(files.line)
    expect(parsePrivateKey(files.file).public.fingerprint).toEqual(fingerprint)
    // ssh-keygen knows other forms for all but ed25519.
    for (const form of type === 'ed25519' ? ['RFC4716'] : ['RFC4716', 'PKCS8', 'PEM']) {
      for (const passphrase of ['', 'öffne dich']) {
        run('ssh-keygen', ['-q', '-p', '-P', '', '-N', passphrase, '-m', form, '-a', '2', '-f', files.path])
        const file = run('cat', [files.path])
        expect(parsePrivateKey(file, passphrase).public.fingerprint).toEqual(fingerprint)
        if (passphrase !== '') {
          expect(outcome(file)).toBe('needs-passphrase')
          expect(outcome(file, 'offne dich')).toBe('wrong-passphrase')
          run('ssh-keygen', ['-q', '-p', '-P', passphrase, '-N', '', '-m', form, '-f', files.path])
        }
      }
    }
  })

  test.each(['aes128-ctr', 'aes192-ctr', 'aes256-ctr', 'aes128-cbc', 'aes192-cbc', 'aes256-cbc', '3des-cbc'])(
    'encrypted by %s',
    (cipher) => {
      const files = makeKey(makeFolder(), 'key', ['-t', 'ed25519', '-Z', cipher, '-a', '1'], 'open')
      expect(parsePrivateKey(files.file, 'open').public.fingerprint).toEqual(parsePublicKey(files.line).fingerprint)
      expect(outcome(files.file, 'shut')).toBe('wrong-passphrase')
    },
  )

  test.each(['aes256-gcm@openssh.com', 'chacha20-poly1305@openssh.com'])(
    '%s is told apart as unsupported',
    (cipher) => {
      const files = makeKey(makeFolder(), 'key', ['-t', 'ed25519', '-Z', cipher, '-a', '1'], 'open')
      expect(outcome(files.file, 'open')).toBe('unsupported')
    },
  )
})
