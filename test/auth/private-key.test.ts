import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import {
  generatePrivateKey,
  parsePrivateKey,
  readPrivateKey,
  PrivateKeyError,
  type PrivateKeyErrorCode,
} from '../../src/auth/private-key.ts'
import { parseSeedFile } from '../../src/auth/seed.ts'
import { parsePublicKey } from '../../src/auth/ssh-key.ts'
import { missing } from '../support/programs.ts'
import { buildBlob, makeFidoKey, makeFolder, makeKey, needs, run, toBlob } from './openssh.ts'

/** Returns the code with which parsing is refused, or undefined if it succeeds. */
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

/** Builds an OpenSSH container around the key in `mine`, with some parts replaced. */
function container(change: { cipher?: string; kdf?: string; keys?: number; public?: Uint8Array; private?: Uint8Array }): string {
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

/** Builds the same container encrypted, so that no passphrase opens it. */
function locked(change: { cipher?: string; options?: string; salt?: Uint8Array | string; rounds?: number; tag?: number }): string {
  const { cipher = 'aes256-ctr', salt = Buffer.alloc(16, 1), rounds = 1, tag = 0 } = change
  return toPem(
    Buffer.concat([
      MAGIC,
      buildBlob(cipher, 'bcrypt', change.options ?? buildBlob(salt, rounds), 1, toBlob(mine.public), Buffer.alloc(160, 9)),
      Buffer.alloc(tag),
    ]),
  )
}

test('a generated key reads back, and its public line matches its private file', () => {
  const key = parsePrivateKey(Buffer.from(mine.file))
  expect(key.public.fingerprint).toEqual(parsePublicKey(mine.public).fingerprint)
  expect(mine.public.endsWith(' me')).toBe(true)
  expect(generatePrivateKey('').public.split(' ')).toHaveLength(2)
  expect(outcome(container({}))).toBeUndefined()
  expect(outcome(mine.file.replaceAll('\n', '\r\n'))).toBeUndefined()
  expect(outcome(mine.file.trimEnd())).toBeUndefined()
})

test('a key whose seed begins with zeros is read, although sshpk would read it as a shorter number', () => {
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

test('generatePrivateKey refuses a comment with a line break or NUL', () => {
  for (const comment of ['a\nb', 'a\rb', 'a\0b']) expect(() => generatePrivateKey(comment)).toThrow(TypeError)
})

function pem(key: KeyObject, type: 'pkcs8' | 'pkcs1' | 'sec1', passphrase?: string): string {
  const plain = { format: 'pem', type } as const
  return key.export(passphrase === undefined ? plain : { ...plain, cipher: 'aes-256-cbc', passphrase }).toString()
}

describe.each(['ed25519', 'rsa', 'encrypted'])('%s: a file that an editor or a mail changed', (kind) => {
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  const file = kind === 'ed25519' ? mine.file : pem(rsa, 'pkcs1', kind === 'rsa' ? undefined : 'open it')

  test.each([
    ['a byte order mark', `\u{feff}${file}`],
    ['blanks at line ends', file.replaceAll('\n', ' \t\n')],
    ['blanks before CR LF', file.replaceAll('\n', '  \r\n')],
    ['an indent', file.replaceAll(/^(?=.)/gm, '  ')],
    ['all of these', `\u{feff}\r\n${file.replaceAll(/^(?=.)/gm, '\t').replaceAll('\n', ' \r\n')}`],
  ])('opens with %s', (_name, text) => {
    const right = parsePrivateKey(Buffer.from(file), 'open it')
    expect(parsePrivateKey(Buffer.from(text), 'open it').public).toEqual(right.public)
    // A page has a text, and the command line reads bytes as latin1.
    if (kind !== 'ed25519') return
    for (const each of [text, Buffer.from(text).toString('latin1')]) expect(parseSeedFile(each).public).toEqual(right.public)
  })
})

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
  ] as const)('reads %s as %s, encrypted and plain', (type, form, key) => {
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
    ['rsa-size', 'RSA of 1024 bits', pem(generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey, 'pkcs8')],
    [
      'rsa-exponent',
      'RSA with an exponent of 3',
      pem(generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }).privateKey, 'pkcs8'),
    ],
    ['unsupported', 'RSA-PSS', pem(generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey, 'pkcs8')],
    ['unsupported', 'another curve', pem(generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).privateKey, 'pkcs8')],
    ['unsupported', 'a curve without a name in JWK', pem(generateKeyPairSync('ec', { namedCurve: 'brainpoolP256r1' }).privateKey, 'pkcs8')],
    ['unsupported', 'x25519', pem(generateKeyPairSync('x25519').privateKey, 'pkcs8')],
    ['unsupported', 'ed448', pem(generateKeyPairSync('ed448').privateKey, 'pkcs8')],
    ['not-a-private-key', 'a public key', generateKeyPairSync('ed25519').publicKey.export({ format: 'pem', type: 'spki' }).toString()],
    ['damaged', 'the label of another type', toPem(Buffer.alloc(48), 'RSA PRIVATE KEY')],
    ['damaged', 'junk under a valid label', toPem(Buffer.alloc(48), 'PRIVATE KEY')],
  ])('fails with %s: %s', (code, _name, file) => {
    expect(outcome(file)).toBe(code)
  })
})

describe('the OpenSSH container', () => {
  const flipped = Buffer.from(blob)
  flipped[blob.indexOf(seed) + 3]! ^= 1

  test.each<[PrivateKeyErrorCode, string, string]>([
    ['not-a-private-key', 'an empty file', ''],
    ['not-a-private-key', 'a public key', mine.public],
    ['damaged', 'no base64', '-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n'],
    ['several-keys', 'two files in one', mine.file + other.file],
    ['damaged', 'a truncated file', mine.file.slice(0, 200)],
    ['damaged', 'no last line', mine.file.replace(/-----END.*/, '')],
    ['damaged', 'an END line of another label', mine.file.replace('END OPENSSH', 'END RSA')],
    ['not-a-private-key', 'a BEGIN line that starts inside a line', `x${mine.file}`],
    ['damaged', 'another magic', toPem(Buffer.concat([Buffer.from('openssh-key-v2\0'), blob.subarray(15)]))],
    ['damaged', 'a byte after the container', toPem(Buffer.concat([blob, Buffer.of(0)]))],
    ['damaged', 'a missing last byte', toPem(blob.subarray(0, -1))],
    ['damaged', 'base64 with a missing character', mine.file.replace(/.=*\n-----END/, '\n-----END')],
    ['damaged', 'the public half of another key', container({ public: toBlob(other.public) })],
    ['damaged', 'a seed of another key', toPem(flipped)],
    ['damaged', 'an empty private part', container({ private: Buffer.alloc(0) })],
    [
      'damaged',
      'check numbers that differ',
      container({ private: buildBlob(7, 8, 'ssh-ed25519', point, Buffer.concat([seed, point]), 'me') }),
    ],
    ['damaged', 'a cipher without a kdf', container({ cipher: 'aes256-ctr' })],
    ['damaged', 'a kdf without a cipher', container({ kdf: 'bcrypt' })],
    ['unsupported', 'no key', container({ keys: 0 })],
    ['unsupported', 'two keys', container({ keys: 2 })],
    ['unsupported', 'another kdf', container({ cipher: 'aes256-ctr', kdf: 'argon2' })],
    ['unsupported', 'another cipher', container({ cipher: 'rot13', kdf: 'bcrypt' })],
    ['damaged', 'a private part of an incomplete block', container({ private: Buffer.alloc(12) })],
    ['damaged', 'malformed options of bcrypt', locked({ options: 'x' })],
    ['damaged', 'no salt', locked({ salt: '' })],
    ['damaged', 'a salt over the length limit', locked({ salt: Buffer.alloc(2_000) })],
    ['damaged', 'no rounds', locked({ rounds: 0 })],
    ['damaged', 'no authenticator', locked({ cipher: 'aes256-gcm@openssh.com' })],
    ['damaged', 'an authenticator that is too short', locked({ cipher: 'chacha20-poly1305@openssh.com', tag: 15 })],
    ['damaged', 'an authenticator for a cipher without one', locked({ tag: 16 })],
    ['needs-passphrase', 'an encrypted key', locked({})],
    ['needs-token', 'a FIDO key', container({ public: makeFidoKey('ed25519').blob })],
    ['unsupported', 'a malformed public half', container({ public: buildBlob('ssh-ed25519', point.subarray(1)) })],
    ['unsupported', 'ssh-dss', container({ public: buildBlob('ssh-dss', 1n, 1n, 1n, 1n) })],
  ])('fails with %s: %s', (code, _name, file) => {
    expect(outcome(file)).toBe(code)
  })

  test.each([4_097, 1_000_000_000, 0xffff_ffff])('refuses %i rounds before it starts to derive', (rounds) => {
    expect(outcome(locked({ rounds }), 'x')).toBe('too-costly')
  })

  test('fails with wrong-passphrase for an empty or wrong passphrase', () => {
    for (const cipher of ['aes128-ctr', '3des-cbc'])
      for (const word of ['', 'x']) expect(outcome(locked({ cipher }), word)).toBe('wrong-passphrase')
    for (const cipher of ['aes128-gcm@openssh.com', 'chacha20-poly1305@openssh.com'])
      expect(outcome(locked({ cipher, tag: 16 }), 'x')).toBe('wrong-passphrase')
  })

  test('is refused in a linear time among a million blanks', () => {
    const file = `-----BEGIN OPENSSH PRIVATE KEY-----\n${' '.repeat(1_000_000)}x\n-----END OPENSSH PRIVATE KEY-----\n`
    expect(() => parsePrivateKey(Buffer.from(file))).toThrow(PrivateKeyError)
  })

  test('is found among other text in the file', () => {
    expect(outcome(`\uFEFFBag Attributes\n  a name\n${mine.file}a note, and ----- dashes\n${mine.public}\n`)).toBeUndefined()
    expect(outcome(`a note\r\n${mine.file}more\n`.replaceAll(/\r?\n/g, '\r\n'))).toBeUndefined()
  })

  test('reports its rounds, yields to other work between them, and stops when the signal aborts', async () => {
    const file = Buffer.from(locked({ rounds: 3 }))
    const told: number[] = []
    let turns = 0
    const stop = new AbortController()
    const count = (): void => {
      turns++
      if (!stop.signal.aborted) setImmediate(count)
    }
    setImmediate(count)
    await expect(readPrivateKey(file, 'x', { onRounds: (rounds) => told.push(rounds) })).rejects.toMatchObject({ code: 'wrong-passphrase' })
    // The key and the counter block of AES-256 are two bcrypt blocks, of 3 rounds each.
    expect(told).toEqual([6])
    expect(turns).toBeGreaterThanOrEqual(6)
    const work = readPrivateKey(Buffer.from(locked({ rounds: 4_000 })), 'x', {
      signal: stop.signal,
      onRounds: () => stop.abort(new Error('enough')),
    })
    await expect(work).rejects.toThrow('enough')
    expect((await readPrivateKey(Buffer.from(mine.file), undefined, { onRounds: () => told.push(0) })).public.type).toBe('ssh-ed25519')
    expect(told).toEqual([6])
  })
})

test('parsePrivateKey throws only a PrivateKeyError, and the error holds no secret of the file', () => {
  const secrets = [seed.toString('base64').slice(0, 20), seed.toString('hex'), seed.toString('latin1')]
  fc.assert(
    fc.property(fc.nat(blob.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const bytes = Buffer.from(blob)
      bytes[at]! ^= change
      try {
        // A change to the check numbers, comment or padding leaves the key as it was.
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

test('printing a key shows no secret bytes', () => {
  const key = parsePrivateKey(Buffer.from(mine.file))
  const jwk = createPrivateKey(pem(key.keyObject, 'pkcs8')).export({ format: 'jwk' })
  expect(Buffer.from(jwk.d!, 'base64url')).toEqual(Buffer.from(seed))
  const text = inspect(key, { depth: 9, showHidden: true }) + JSON.stringify(key)
  expect(text).not.toContain(jwk.d)
  expect(text).not.toContain(seed.toString('hex').replaceAll(/../g, '$& ').trim().slice(0, 30))
})

describe('interoperation with ssh-keygen', () => {
  beforeEach(needs('ssh-keygen'))

  test('it reads a generated key and its comment', () => {
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
  ])('its %s keys of %s bits are read, encrypted and in every form', (type, bits) => {
    const folder = makeFolder()
    const files = makeKey(folder, 'key', ['-t', type, '-b', bits])
    const { fingerprint } = parsePublicKey(files.line)
    expect(parsePrivateKey(files.file).public.fingerprint).toEqual(fingerprint)
    // ssh-keygen writes ed25519 in one form only.
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
})

describe('the ciphers of ssh-keygen', () => {
  beforeEach(needs('ssh-keygen', 'ssh'))

  // Without ssh, one name stands for all, so that the tests are reported as skipped.
  const ciphers = missing('ssh') === undefined ? run('ssh', ['-Q', 'cipher']).toString().trim().split('\n') : ['every cipher']

  test('are those that the next tests rely on', () => {
    expect(ciphers).toEqual(expect.arrayContaining(['3des-cbc', 'aes256-ctr', 'aes256-gcm@openssh.com', 'chacha20-poly1305@openssh.com']))
  })

  test.each([
    ['ed25519', '256'],
    ['rsa', '2048'],
    ['ecdsa', '256'],
    ['ecdsa', '384'],
    ['ecdsa', '521'],
  ])('protect %s keys of %s bits, which are read', (type, bits) => {
    const files = makeKey(makeFolder(), 'key', ['-t', type, '-b', bits])
    const { fingerprint } = parsePublicKey(files.line)
    let last = ''
    for (const cipher of ciphers) {
      run('ssh-keygen', ['-q', '-p', '-P', last, '-N', 'öffne dich', '-Z', cipher, '-a', '1', '-f', files.path])
      last = 'öffne dich'
      const file = readFileSync(files.path)
      expect(parsePrivateKey(file, last).public.fingerprint).toEqual(fingerprint)
      expect(outcome(file)).toBe('needs-passphrase')
      expect(outcome(file, 'offne dich')).toBe('wrong-passphrase')
    }
  })

  test.each(ciphers)('a changed or truncated file under %s gives the same key or an error', (cipher) => {
    const files = makeKey(makeFolder(), 'key', ['-t', 'ed25519', '-Z', cipher, '-a', '1'], 'open')
    const whole = fromPem(files.file.toString())
    const { fingerprint } = parsePublicKey(files.line)
    const authenticated = cipher.includes('@')
    // A changed number of rounds only costs time, so skip it. Before it lie the magic, three lengths, two
    // names, the salt and the salt's length.
    const rounds = MAGIC.length + 3 * 4 + cipher.length + 'bcrypt'.length + 4 + 16
    expect(whole.readUInt32BE(rounds)).toBe(1)
    const place = fc.nat(whole.length - 1).filter((at) => at < rounds || at >= rounds + 4)
    fc.assert(
      fc.property(place, fc.integer({ min: 1, max: 255 }), (at, change) => {
        const bytes = Buffer.from(whole)
        bytes[at]! ^= change
        const file = Buffer.from(toPem(bytes))
        const code = outcome(file, 'open')
        // Without an authenticator, a change to the comment or the padding goes unnoticed.
        if (code === undefined)
          expect({ authenticated, key: parsePrivateKey(file, 'open').public.fingerprint }).toEqual({
            authenticated: false,
            key: fingerprint,
          })
        else expect(['damaged', 'wrong-passphrase', 'unsupported', 'too-costly', 'needs-token', 'needs-passphrase']).toContain(code)
        expect(outcome(toPem(whole.subarray(0, at)), 'open')).toBe('damaged')
      }),
      { numRuns: 20 },
    )
  })
})

describe('passphrases of ssh-keygen', () => {
  beforeEach(needs('ssh-keygen'))

  // More than ssh-keygen's own number.
  test('a key with 30 rounds is read', () => {
    const files = makeKey(makeFolder(), 'key', ['-t', 'ed25519', '-a', '30'], 'open')
    expect(parsePrivateKey(files.file, 'open').public.fingerprint).toEqual(parsePublicKey(files.line).fingerprint)
  })

  // Four derivations with the usual number of rounds.
  test('it reads a key generated with a passphrase', { timeout: 60_000 }, () => {
    const path = join(makeFolder(), 'key')
    const key = generatePrivateKey('a comment', 'öffne dich')
    writeFileSync(path, key.file, { mode: 0o600 })
    expect(run('ssh-keygen', ['-y', '-P', 'öffne dich', '-f', path]).toString().trimEnd()).toBe(key.public)
    expect(() => run('ssh-keygen', ['-y', '-P', 'other', '-f', path])).toThrow(/incorrect passphrase/)
    expect(outcome(key.file)).toBe('needs-passphrase')
    expect(parsePrivateKey(Buffer.from(key.file), 'öffne dich').public.fingerprint).toEqual(parsePublicKey(key.public).fingerprint)
    expect(() => generatePrivateKey('a comment', '')).toThrow(TypeError)
  })
})

describe('interoperation with openssl', () => {
  beforeEach(needs('openssl'))

  const makePem = (folder: string, ...args: string[]): string => {
    const path = join(folder, 'plain.pem')
    run('openssl', ['genpkey', '-algorithm', ...args, '-out', path])
    return path
  }

  test.each([
    ['aes-256-cbc', ['-v2', 'aes-256-cbc']],
    ['aes-128-cbc by HMAC-SHA-512', ['-v2', 'aes-128-cbc', '-v2prf', 'hmacWithSHA512']],
    ['3DES', ['-v2', 'des3']],
    ['scrypt', ['-scrypt']],
    ['PKCS12’s 3DES', ['-v1', 'PBE-SHA1-3DES']],
  ])('its PKCS8 under %s is read', (_name, args) => {
    const folder = makeFolder()
    for (const algorithm of [
      ['ed25519'],
      ['rsa'],
      ['EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
      ['EC', '-pkeyopt', 'ec_paramgen_curve:P-521'],
    ]) {
      const plain = makePem(folder, ...algorithm)
      const file = run('openssl', ['pkcs8', '-topk8', '-in', plain, '-passout', 'pass:open', ...args])
      const expected = parsePrivateKey(readFileSync(plain)).public.fingerprint
      expect(parsePrivateKey(file, 'open').public.fingerprint).toEqual(expected)
      expect(outcome(file)).toBe('needs-passphrase')
      expect(outcome(file, 'shut')).toBe('wrong-passphrase')
    }
  })

  test('the curve parameters before a key are skipped', () => {
    const file = run('openssl', ['ecparam', '-name', 'prime256v1', '-genkey'])
    expect(file.toString()).toContain('BEGIN EC PARAMETERS')
    expect(parsePrivateKey(file).public.type).toBe('ecdsa-sha2-nistp256')
  })

  // A change may yield another key: PKCS8 has neither an authenticator nor the public half.
  test('changed PKCS8 fails with a known code at worst, and truncated PKCS8 is damaged', () => {
    const folder = makeFolder()
    const plain = makePem(folder, 'ed25519')
    const whole = fromPem(run('openssl', ['pkcs8', '-topk8', '-in', plain, '-passout', 'pass:open']).toString())
    const label = 'ENCRYPTED PRIVATE KEY'
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
        const bytes = Buffer.from(whole)
        bytes[at]! ^= change
        const codes = [undefined, 'damaged', 'wrong-passphrase', 'unsupported', 'too-costly']
        expect(codes).toContain(outcome(toPem(bytes, label), 'open'))
        expect(outcome(toPem(whole.subarray(0, at), label), 'open')).toBe('damaged')
      }),
      { numRuns: 200 },
    )
  })
})

describe('PKCS8 with a key derivation', () => {
  const der = (tag: number, ...parts: Uint8Array[]): Buffer => {
    const content = Buffer.concat(parts)
    return Buffer.concat([
      content.length < 0x80 ? Buffer.of(tag, content.length) : Buffer.of(tag, 0x82, content.length >> 8, content.length & 0xff),
      content,
    ])
  }
  const sequence = (...parts: Uint8Array[]): Buffer => der(0x30, ...parts)
  const id = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'))
  const integer = (value: number): Buffer =>
    der(0x02, Buffer.from(value.toString(16).padStart(10, '0'), 'hex').subarray(value < 2 ** 23 ? 2 : 0))
  const salt = der(0x04, Buffer.alloc(8, 1))
  const aes = sequence(id('60864801650304012a'), der(0x04, Buffer.alloc(16)))
  const build = (algorithm: Uint8Array): string => toPem(sequence(algorithm, der(0x04, Buffer.alloc(64, 9))), 'ENCRYPTED PRIVATE KEY')
  const pbes2 = (derivation: Uint8Array): string => build(sequence(id('2a864886f70d01050d'), sequence(derivation, aes)))
  const pbkdf2 = (rounds: number): string => pbes2(sequence(id('2a864886f70d01050c'), sequence(salt, integer(rounds))))
  const scrypt = (n: number, r: number, p: number): string =>
    pbes2(sequence(id('2b06010401da47040b'), sequence(salt, integer(n), integer(r), integer(p))))
  const pkcs12 = (rounds: number): string => build(sequence(id('2a864886f70d010c0103'), sequence(salt, integer(rounds))))

  test.each<[PrivateKeyErrorCode, string, string]>([
    ['wrong-passphrase', '2,048 rounds of PBKDF2', pbkdf2(2_048)],
    ['too-costly', 'just over ten million rounds', pbkdf2(10_000_001)],
    ['too-costly', 'a billion rounds', pbkdf2(1_000_000_000)],
    ['wrong-passphrase', "openssl's scrypt", scrypt(16_384, 8, 1)],
    ['too-costly', 'scrypt of a large N', scrypt(2 ** 20, 8, 1)],
    ['too-costly', 'scrypt of a large r', scrypt(16_384, 2 ** 20, 1)],
    ['too-costly', 'scrypt of a large p', scrypt(16_384, 8, 2 ** 20)],
    ['wrong-passphrase', "2,048 rounds of PKCS12's derivation", pkcs12(2_048)],
    ['too-costly', "a billion rounds of PKCS12's derivation", pkcs12(1_000_000_000)],
    ['damaged', 'no rounds', pbes2(sequence(id('2a864886f70d01050c'), sequence(salt)))],
    ['damaged', 'rounds that are not a number', pbes2(sequence(id('2a864886f70d01050c'), sequence(salt, salt)))],
    ['damaged', 'an empty algorithm', build(sequence())],
    ['damaged', 'no algorithm', toPem(sequence(), 'ENCRYPTED PRIVATE KEY')],
    ['damaged', 'an indefinite length', toPem(Buffer.from('30800000', 'hex'), 'ENCRYPTED PRIVATE KEY')],
  ])('fails with %s: %s', (code, _name, file) => {
    expect(outcome(file, 'x')).toBe(code)
  })
})
