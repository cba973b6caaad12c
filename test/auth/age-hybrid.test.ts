import { readFileSync } from 'node:fs'
import { bech32 } from '@scure/base'
import { Decrypter, Encrypter, generateHybridIdentity, identityToRecipient, Stanza } from 'age-encryption'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  formatHybridSecret,
  HybridIdentity,
  type HybridKey,
  hybridKey,
  HybridRecipient,
  isHybridRecipient,
  isHybridSecret,
  parseHybridSecret,
} from '../../src/auth/age-hybrid.ts'

interface Vectors {
  readonly text: string
  readonly files: readonly { secret: string; recipient: string; file: string }[]
}

const vectors = JSON.parse(readFileSync(new URL('../vectors/hybrid.json', import.meta.url), 'utf8')) as Vectors
const seedOf = (n: number): Uint8Array => new Uint8Array(32).fill(n)
const [ours, stranger] = [hybridKey(seedOf(1)), hybridKey(seedOf(2))]

async function encrypt(text: Uint8Array | string, ...to: readonly string[]): Promise<Uint8Array> {
  const encrypter = new Encrypter()
  for (const each of to) encrypter.addRecipient(new HybridRecipient(each))
  return encrypter.encrypt(text)
}

async function decrypt(file: Uint8Array, ...keys: readonly HybridKey[]): Promise<Uint8Array> {
  const decrypter = new Decrypter()
  decrypter.addIdentity(new HybridIdentity(keys))
  return decrypter.decrypt(file)
}

const repeat = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value)

const NO_IDENTITY = 'no identity matched'
const toText = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

describe('the same files as age-encryption', () => {
  test.each(vectors.files)('in the vectors: $#', async ({ secret, recipient, file }) => {
    const key = hybridKey(parseHybridSecret(secret))
    expect(key.recipient).toBe(recipient)
    expect(toText(await decrypt(Buffer.from(file, 'base64'), key))).toBe(vectors.text)
  })

  test('made by either and decrypted by the other', async () => {
    for (const length of [0, 16, 65_536, 65_537]) {
      const text = Buffer.alloc(length, 'text')
      const secret = await generateHybridIdentity()
      const key = hybridKey(parseHybridSecret(secret))
      expect(key.recipient).toBe(await identityToRecipient(secret))
      const theirs = new Encrypter()
      theirs.addRecipient(key.recipient)
      expect(Buffer.compare(await decrypt(await theirs.encrypt(text), key), text)).toBe(0)
      const reader = new Decrypter()
      reader.addIdentity(secret)
      expect(Buffer.compare(await reader.decrypt(await encrypt(text, key.recipient)), text)).toBe(0)
      const chunk = new HybridRecipient(key.recipient).encrypt(text)
      if (length > 65_536) await expect(chunk).rejects.toThrow(RangeError)
      else expect(Buffer.compare(await reader.decrypt(await chunk), text)).toBe(0)
    }
  })

  test('with the same spelling of secrets', () => {
    fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 32, maxLength: 32 }), async (seed) => {
        const secret = formatHybridSecret(seed)
        expect(parseHybridSecret(secret)).toEqual(seed)
        expect(isHybridSecret(secret)).toBe(true)
        expect(await identityToRecipient(secret)).toBe(hybridKey(seed).recipient)
      }),
      { numRuns: 10 },
    )
  })
})

test('a file to several keys decrypts with each of the first three, and tells which', async () => {
  const keys = [3, 4, 5].map((n) => hybridKey(seedOf(n)))
  const file = await encrypt('text', ...keys.map(({ recipient }) => recipient))
  for (const key of keys) {
    const identity = new HybridIdentity([stranger, stranger, key])
    const decrypter = new Decrypter()
    decrypter.addIdentity(identity)
    expect(toText(await decrypter.decrypt(file))).toBe('text')
    expect(identity.opened).toBe(2)
  }
  await expect(decrypt(file, stranger, ours)).rejects.toThrow(NO_IDENTITY)
  await expect(decrypt(file)).rejects.toThrow(NO_IDENTITY)
})

test('a file with any byte changed does not decrypt', async () => {
  const file = await encrypt('text', ours.recipient)
  await fc.assert(
    fc.asyncProperty(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      const other = Uint8Array.from(file)
      other[at]! ^= change
      await expect(decrypt(other, ours)).rejects.toThrow(Error)
    }),
  )
})

test('a key copies its seed, and does not change when the caller overwrites it', async () => {
  const seed = seedOf(9)
  const key = hybridKey(seed)
  seed.fill(0)
  expect(key.recipient).toBe(hybridKey(seedOf(9)).recipient)
  expect(() => hybridKey(new Uint8Array(31))).toThrow(TypeError)
})

/** `age1pq1…` of any bytes. */
const encode = (bytes: Uint8Array, prefix = 'age1pq'): string => bech32.encode(prefix, bech32.toWords(bytes), false)
const decode = (text: string): Uint8Array => bech32.fromWords(bech32.decode(text as `${string}1${string}`, false).words)
const changed = (at: number, ...bytes: number[]): string => {
  const all = decode(ours.recipient)
  all.set(bytes, at)
  return encode(all)
}

test('a changed recipient is well-formed if its numbers are in range', () => {
  expect(encode(decode(ours.recipient))).toBe(ours.recipient)
  // 3,328 is the largest coefficient.
  expect(isHybridRecipient(changed(0, 0x00, 0x0d, 0xd0))).toBe(true)
})

test.each([
  ['empty', ''],
  ['an X25519 recipient', encode(new Uint8Array(32), 'age')],
  ['one byte short', encode(decode(ours.recipient).subarray(1))],
  ['one byte long', encode(Uint8Array.of(...decode(ours.recipient), 0))],
  ['in upper case', ours.recipient.toUpperCase()],
  ['of another kind', encode(decode(ours.recipient), 'age1tagpq')],
  ['with a wrong checksum', `${ours.recipient.slice(0, -1)}${ours.recipient.endsWith('q') ? 'p' : 'q'}`],
  ['with a space after it', `${ours.recipient} `],
  ['with a first coefficient of 3,329', changed(0, 0x01, 0x0d)],
  ['with a second coefficient of 3,329', changed(0, 0, 0x10, 0xd0)],
  ['with a last coefficient of 4,095', changed(1_150, 0xff, 0xff)],
  ['with a point of zero', changed(1_184, ...new Uint8Array(32))],
  ['with a point of order 8', changed(1_184, ...Buffer.from('e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800', 'hex'))],
])('a recipient is refused if it is %s', async (_name, text) => {
  expect(isHybridRecipient(text)).toBe(false)
  await expect(encrypt('text', text)).rejects.toThrow(Error)
})

test.each([
  ['empty', ''],
  ['in lower case', formatHybridSecret(seedOf(1)).toLowerCase()],
  ['an X25519 identity', bech32.encodeFromBytes('AGE-SECRET-KEY-', seedOf(1)).toUpperCase()],
  ['short', encode(seedOf(1).subarray(1), 'age-secret-key-pq-').toUpperCase()],
])('a secret is refused if it is %s, and the error contains nothing of it', (_name, text) => {
  expect(() => parseHybridSecret(text)).toThrow('not an age post-quantum identity (AGE-SECRET-KEY-PQ-1…)')
})

describe('stanzas', async () => {
  const fileKey = new Uint8Array(16).fill(5)
  const stanzaFor = async (key: HybridKey, bytes = fileKey): Promise<Stanza> =>
    (await new HybridRecipient(key.recipient).wrapFileKey(bytes))[0]!
  const stanza = await stanzaFor(ours)
  const [, enclosed] = stanza.args as [string, string]
  const unwrap = async (stanzas: readonly Stanza[], ...keys: HybridKey[]): Promise<Buffer | null> => {
    const opened = await new HybridIdentity(keys).unwrapFileKey([...stanzas])
    return opened === null ? null : Buffer.from(opened)
  }
  const b64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64').replace(/=+$/, '')
  const bytes = Buffer.from(enclosed, 'base64')

  test('of other types and for other keys are skipped', async () => {
    const others = [new Stanza(['X25519', enclosed], stanza.body), new Stanza(['joke'], new Uint8Array(0)), await stanzaFor(stranger)]
    expect(await unwrap(others, ours)).toBeNull()
    expect(await unwrap([...others, stanza], ours)).toEqual(Buffer.from(fileKey))
  })

  test.each<[string, string[], Uint8Array?]>([
    ['no argument', ['mlkem768x25519']],
    ['one argument more', ['mlkem768x25519', enclosed, 'x']],
    ['1,119 bytes', ['mlkem768x25519', b64(bytes.subarray(1))]],
    ['1,121 bytes', ['mlkem768x25519', b64(Buffer.concat([bytes, Buffer.of(0)]))]],
    ['padding', ['mlkem768x25519', `${enclosed}==`]],
    ['stray bits', ['mlkem768x25519', `${enclosed.slice(0, -1)}B`]],
    ['a share of small order', ['mlkem768x25519', b64(Buffer.concat([bytes.subarray(0, 1_088), new Uint8Array(32)]))]],
    ['a short body', ['mlkem768x25519', enclosed], stanza.body.subarray(1)],
    ['a long body', ['mlkem768x25519', enclosed], Buffer.concat([stanza.body, Buffer.of(0)])],
    ['no body', ['mlkem768x25519', enclosed], new Uint8Array(0)],
  ])('are refused with %s', async (_name, args, body = stanza.body) => {
    await expect(unwrap([new Stanza(args, body)], ours)).rejects.toThrow('malformed mlkem768x25519 stanza')
  })

  test('cost three tries of each key at most, however many a file has', async () => {
    let tries = 0
    const counting: HybridKey = { recipient: '', unwrap: () => (tries++, null) }
    const forged = new Stanza(stanza.args, new Uint8Array(32).fill(1))
    expect(await unwrap(repeat(1_000, forged), counting, counting)).toBeNull()
    expect(tries).toBe(6)
    // The sender chose the order, so only the first three count.
    expect(await unwrap([forged, forged, forged, stanza], ours)).toBeNull()
    expect(await unwrap([forged, forged, stanza], ours)).toEqual(Buffer.from(fileKey))
  })

  test('are tried with turns of the event loop in between', async () => {
    let turns = 0
    const timer = setInterval(() => turns++)
    const slow: HybridKey = {
      recipient: '',
      unwrap() {
        // Six of them are longer than the interval, which is 1 ms at least.
        for (const end = performance.now() + 1; performance.now() < end;);
        return null
      },
    }
    await unwrap([stanza, stanza, stanza], ...repeat(32, slow))
    clearInterval(timer)
    expect(turns).toBeGreaterThanOrEqual(8)
  })
})
