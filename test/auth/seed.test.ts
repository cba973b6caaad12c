import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { PrivateKeyError } from '../../src/auth/key-error.ts'
import { parsePrivateKey } from '../../src/auth/private-key.ts'
import { generateSeedKey, parseSeedFile, seedKey } from '../../src/auth/seed.ts'
import { formatFingerprint } from '../../src/auth/ssh-key.ts'
import { signMessage, verifySignature } from '../../src/auth/sshsig.ts'
import { buildBlob, keygenVerifies, makeFolder, makeKey, needs, run, toLine, type Field } from './openssh.ts'

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

/** Returns the code with which parseSeedFile refuses the text, or undefined if it accepts it. */
function outcome(text: string): string | undefined {
  try {
    parseSeedFile(text)
    return undefined
  } catch (error) {
    if (error instanceof PrivateKeyError) return error.code
    throw error
  }
}

// RFC 8032, section 7.1, tests 1 and 2.
test.each([
  [
    '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
    '',
    'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
  ],
  [
    '4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb',
    '3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c',
    '72',
    '92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00',
  ],
])('the seed %s gives the key and signature of RFC 8032', (seed, point, message, signature) => {
  const key = seedKey(Buffer.from(seed, 'hex'))
  expect(hex(key.public.blob.subarray(-32))).toBe(point)
  expect(hex(key.sign(Buffer.from(message, 'hex')))).toBe(signature)
})

test('seedKey requires 32 bytes and copies them', () => {
  for (const length of [0, 31, 33, 64]) expect(() => seedKey(new Uint8Array(length))).toThrow(TypeError)
  const seed = new Uint8Array(32).fill(7)
  const key = seedKey(seed)
  const [signature, file] = [key.sign(seed), parseSeedFile(key.toFile()).sign(seed)]
  expect(file).toEqual(signature)
  seed.fill(0)
  expect(key.sign(new Uint8Array(32).fill(7))).toEqual(signature)
})

test('generateSeedKey makes a different key each time', () => {
  const fingerprints = Array.from({ length: 8 }, () => formatFingerprint(generateSeedKey().public.fingerprint))
  expect(new Set(fingerprints).size).toBe(8)
})

test('every seed and comment survives its file, and parsePrivateKey reads the same key from it', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ minLength: 32, maxLength: 32 }), fc.stringMatching(/^[^\r\n\0]*$/u), async (seed, comment) => {
      const file = seedKey(seed).toFile(comment)
      const [ours, theirs] = [parseSeedFile(file), parsePrivateKey(Buffer.from(file))]
      expect(ours.public).toEqual(theirs.public)
      const message = createHash('sha256').update(seed).digest()
      const blob = signMessage(ours, 'test', message)
      expect(hex(blob)).toBe(hex(signMessage(theirs, 'test', message)))
      expect(await verifySignature({ blob, key: theirs.public, namespace: 'test', message })).toBe(true)
      // RFC 7748, section 4.1: the base point.
      const base = Uint8Array.from({ length: 32 }, (_, at) => (at === 0 ? 9 : 0))
      expect(hex(ours.multiply!(base))).toBe(hex(theirs.multiply!(base)))
    }),
    { numRuns: 50 },
  )
})

test('toFile refuses a comment of more than one line', () => {
  for (const comment of ['a\nb', 'a\r', 'a\0']) expect(() => seedKey(new Uint8Array(32)).toFile(comment)).toThrow(TypeError)
})

test('printing a key shows no secret bytes', () => {
  const seed = Buffer.alloc(32, 'secret')
  const key = seedKey(seed)
  const text = inspect(key, { depth: 9, showHidden: true }) + JSON.stringify(key)
  expect(text).not.toContain(seed.toString('hex').replaceAll(/../g, '$& ').trim().slice(0, 30))
  expect(text).not.toContain(JSON.stringify([...seed]).slice(1, 40))
})

describe('parseSeedFile', () => {
  const seed = Buffer.alloc(32, 1)
  const { blob } = seedKey(seed).public
  const point = Buffer.from(blob.subarray(-32))
  const parts = { magic: Buffer.from('openssh-key-v1\0'), cipher: 'none', kdf: 'none', options: '', keys: 1, blob: Buffer.from(blob) }
  const content = { one: 5, two: 5, type: 'ssh-ed25519', point, secret: Buffer.concat([seed, point]), comment: 'me' }

  function toFile(
    change: Partial<Record<keyof typeof parts, Field>> = {},
    inner: Partial<Record<keyof typeof content, Field>> = {},
    padding?: Buffer,
  ): string {
    const { magic, ...rest } = { ...parts, ...change }
    const unpadded = buildBlob(...Object.values({ ...content, ...inner }))
    const pad = padding ?? Buffer.from(Array.from({ length: -unpadded.length & 7 }, (_, at) => at + 1))
    const bytes = Buffer.concat([magic as Buffer, buildBlob(...Object.values(rest), Buffer.concat([unpadded, pad]))])
    return `-----BEGIN OPENSSH PRIVATE KEY-----\n${bytes.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`
  }

  test('accepts the unchanged file, with CR LF too', () => {
    expect(outcome(toFile())).toBeUndefined()
    expect(outcome(toFile().replaceAll('\n', '\r\n'))).toBeUndefined()
  })

  const other = Buffer.from(generateSeedKey().public.blob)
  test.each<[string, string, string]>([
    ['not-a-private-key', 'an empty text', ''],
    ['not-a-private-key', 'a public key', toLine(blob)],
    ['not-a-private-key', 'a text that is not base64', toFile().replace('b3Bl', 'b3B=')],
    ['not-a-private-key', 'another magic', toFile({ magic: Buffer.from('openssh-key-v2\0') })],
    ['not-a-private-key', 'a kdf without a cipher', toFile({ kdf: 'bcrypt' })],
    ['not-a-private-key', "a kdf's options", toFile({ options: 'x' })],
    ['not-a-private-key', 'another public key', toFile({ blob: other })],
    ['not-a-private-key', 'checks that differ', toFile({}, { two: 6 })],
    ['not-a-private-key', 'the point of another key', toFile({}, { point: other.subarray(-32) })],
    ['not-a-private-key', 'a secret with the point of another key', toFile({}, { secret: Buffer.concat([seed, other.subarray(-32)]) })],
    ['not-a-private-key', 'a short secret', toFile({}, { secret: seed })],
    ['not-a-private-key', 'the seed of another key', toFile({}, { secret: Buffer.concat([Buffer.alloc(32, 2), point]) })],
    ['not-a-private-key', 'another type in the private part', toFile({}, { type: 'ssh-rsa' })],
    ['not-a-private-key', 'wrong padding', toFile({}, {}, Buffer.from([1, 2, 4]))],
    ['not-a-private-key', 'a block of padding too much', toFile({}, { comment: 'four' }, Buffer.from([1, 2, 3, 4, 5, 6, 7, 8, 9]))],
    ['unsupported', 'two keys', toFile({ keys: 2 })],
    ['unsupported', 'RSA', toFile({ blob: buildBlob('ssh-rsa', 65_537n, 1n << 2_047n) })],
    ['needs-passphrase', 'a cipher', toFile({ cipher: 'aes256-ctr', kdf: 'bcrypt' })],
  ])('fails with %s: %s', (code, _name, text) => {
    expect(outcome(text)).toBe(code)
  })

  test('never yields another key from a truncated or changed file, and throws only a PrivateKeyError', () => {
    const file = toFile().split('\n')
    const bytes = Buffer.from(file[1]!, 'base64')
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(7), fc.boolean(), (at, bit, cut) => {
        const changed = cut ? bytes.subarray(0, at) : Buffer.from(bytes)
        if (!cut) changed[at]! ^= 1 << bit
        const text = [file[0], changed.toString('base64'), file[2]].join('\n')
        // A change to the comment or to both check numbers goes unnoticed, but the key stays the same.
        const taken = outcome(text) === undefined ? hex(parseSeedFile(text).public.blob) : hex(blob)
        expect(taken).toBe(hex(blob))
      }),
    )
  })
})

describe('interoperation with ssh-keygen', () => {
  beforeEach(needs('ssh-keygen'))

  test('its ed25519 files are read, and files of other types or with a passphrase are refused with the right code', () => {
    const folder = makeFolder()
    const files = makeKey(folder, 'key', ['-t', 'ed25519'])
    expect(toLine(parseSeedFile(files.file.toString()).public.blob)).toBe(files.line.split(' ').slice(0, 2).join(' '))
    expect(outcome(makeKey(folder, 'rsa', ['-t', 'rsa', '-b', '2048']).file.toString())).toBe('unsupported')
    expect(outcome(makeKey(folder, 'ecdsa', ['-t', 'ecdsa']).file.toString())).toBe('unsupported')
    expect(outcome(makeKey(folder, 'encrypted', ['-t', 'ed25519'], 'open it').file.toString())).toBe('needs-passphrase')
  })

  test('it reads our files with every length of comment, and verifies their signatures', async () => {
    const folder = makeFolder()
    for (const comment of ['', 'a', 'ab', 'me@here', 'two words ü', 'x'.repeat(200)]) {
      const key = generateSeedKey()
      const path = join(folder, 'key')
      writeFileSync(path, key.toFile(comment), { mode: 0o600 })
      expect(run('ssh-keygen', ['-y', '-f', path]).toString().trimEnd()).toBe(`${toLine(key.public.blob)} ${comment}`.trimEnd())
      const message = Buffer.from('a text')
      expect(
        keygenVerifies(folder, { line: toLine(key.public.blob), blob: signMessage(key, 'test', message), namespace: 'test', message }),
      ).toBe(true)
    }
  })
})
