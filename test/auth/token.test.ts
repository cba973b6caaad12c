import { createSecretKey, generateKeyPairSync, randomBytes, createHmac } from 'node:crypto'
import fc from 'fast-check'
import jsonwebtoken from 'jsonwebtoken'
import { describe, expect, test, vi } from 'vitest'
import { readRun } from '../../src/protocol/answer.ts'
import { createSecret, MAX_TOKEN_BYTES, type TokenClaims, Tokens } from '../../src/auth/token.ts'

const bytes = randomBytes(32)
const secret = createSecretKey(bytes)
const tokens = new Tokens({ secret, seconds: 3_600 })
const name = `${'a'.repeat(56)}.onion`
const now = 1_700_000_000_123
const token = tokens.issue({ subject: 'a mailbox', audience: name, now, id: `${tokens.run}an id` })
const readClaims = (text: string): { jti: string; iat: number; exp: number } =>
  JSON.parse(Buffer.from(text.split('.')[1]!, 'base64url').toString()) as { jti: string; iat: number; exp: number }
const { jti, iat } = readClaims(token)
const claims = { jti, sub: 'a mailbox', aud: name, iat, exp: iat + 3_600 }
const input = { audiences: ['localhost', name], now }

const verify = (text: string, options: typeof input): TokenClaims | undefined => tokens.verify(Buffer.from(text, 'latin1'), options)

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** Builds a token of any header and payload under the relay's own secret. */
function forge(header: unknown, payload: unknown, hash = 'sha256'): string {
  const signed = `${encode(header)}.${encode(payload)}`
  return `${signed}.${createHmac(hash, secret).update(signed).digest('base64url')}`
}

const HEADER = { alg: 'HS256', typ: 'JWT' }

test('a token is valid for its audience until it expires, to the millisecond', () => {
  const expires = (1_700_000_000 + 3_600) * 1000
  expect(verify(token, input)).toEqual({ subject: 'a mailbox', expires, id: jti, isClaim: false })
  expect(verify(token, { ...input, now: expires - 1 })).toBeDefined()
  expect(verify(token, { ...input, now: expires })).toBeUndefined()
})

test('a token issued at time zero is valid for its lifetime', () => {
  const early = tokens.issue({ subject: 's', audience: name, now: 0, id: 'i' })
  expect(verify(early, { ...input, now: 0 })).toEqual({ subject: 's', expires: 3_600_000, id: 'i', isClaim: false })
  const claimed = tokens.issue({ subject: 's', audience: name, now: 0, id: 'i', isClaim: true })
  expect(verify(claimed, { ...input, now: 0 })).toMatchObject({ subject: 's', isClaim: true })
  expect(verify(early, { ...input, now: 3_600_000 })).toBeUndefined()
})

test('a token holds the claims of the protocol, and the forging helper of the tests below makes valid tokens', () => {
  expect(JSON.parse(Buffer.from(token.split('.')[1]!, 'base64url').toString())).toEqual(claims)
  expect(JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString())).toEqual(HEADER)
  expect(verify(forge(HEADER, claims), input)).toBeDefined()
  expect(token).toBe(forge(HEADER, claims))
})

test('a run follows from the secret, and a client finds it in a token without a parser', () => {
  expect(jti).toMatch(/^[\w-]{8}an id$/)
  const same = new Tokens({ secret, seconds: 60 })
  const other = new Tokens({ secret: createSecret(), seconds: 3_600 })
  expect(same.run).toBe(tokens.run)
  expect(other.run).not.toBe(tokens.run)
  const later = { subject: 'another mailbox', audience: 'localhost', now: now + 86_400_000 }
  expect(readRun(token)).toHaveLength(22)
  expect(readRun(same.issue({ ...later, id: `${same.run}another` }))).toBe(readRun(token))
  expect(readRun(other.issue({ ...later, id: `${other.run}an id` }))).not.toBe(readRun(token))
  expect(readRun(forge(HEADER, { sub: 'a mailbox', jti }))).toBeUndefined()
})

test("a token's times follow from the secret and reveal no clock, and a relay with the same secret agrees on them", () => {
  const fixed = createSecretKey(Buffer.alloc(32, 7))
  const issue = (by: Tokens, at: number): string => by.issue({ subject: 's', audience: name, now: at, id: 'i' })
  const [before, after] = [new Tokens({ secret: fixed, seconds: 60 }), new Tokens({ secret: fixed, seconds: 3_600 })]
  // A new version must not change this: it takes over secrets and tokens from the old one.
  expect(readClaims(issue(before, 1_700_000_000_000))).toMatchObject({ iat: 2_332_189_172, exp: 2_332_189_232 })
  const verified = after.verify(Buffer.from(issue(before, 1_700_000_000_000)), { audiences: [name], now: 1_700_000_059_999 })
  expect(verified?.expires).toBe(1_700_000_060_000)
  expect(after.verify(Buffer.from(issue(before, 1_700_000_000_000)), { audiences: [name], now: 1_700_000_060_000 })).toBeUndefined()
  const times = Array.from({ length: 64 }, () => readClaims(issue(new Tokens({ secret: createSecret(), seconds: 60 }), now)).iat)
  expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(2 ** 31)
})

const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })

describe('verification refuses', () => {
  test.each<[string, string]>([
    ['an empty text', ''],
    ['three parts that are not a token', 'a.b.c'],
    ['alg none', `${encode({ alg: 'none', typ: 'JWT' })}.${encode(claims)}.`],
    ['alg none with a signature', forge({ alg: 'none', typ: 'JWT' }, claims)],
    ['no alg', forge({ typ: 'JWT' }, claims)],
    ['another case of alg', forge({ alg: 'hs256', typ: 'JWT' }, claims)],
    ['HS512 under the same secret', jsonwebtoken.sign(claims, secret, { algorithm: 'HS512' })],
    ['HS384 under the same secret', jsonwebtoken.sign(claims, secret, { algorithm: 'HS384' })],
    ['HS512 in name only', forge({ alg: 'HS512', typ: 'JWT' }, claims)],
    ['RS256', jsonwebtoken.sign(claims, rsa.privateKey, { algorithm: 'RS256' })],
    ['RS256 in name only', forge({ alg: 'RS256', typ: 'JWT' }, claims)],
    ['another secret', jsonwebtoken.sign(claims, createSecret(), { algorithm: 'HS256' })],
    ['the secret in base64 as the secret', jsonwebtoken.sign(claims, bytes.toString('base64'), { algorithm: 'HS256' })],
    ['another audience', forge(HEADER, { ...claims, aud: 'b.onion' })],
    ['a list of audiences', forge(HEADER, { ...claims, aud: [name] })],
    ['no audience', forge(HEADER, { ...claims, aud: undefined })],
    ['no subject', forge(HEADER, { ...claims, sub: undefined })],
    ['a subject that is a number', forge(HEADER, { ...claims, sub: 1 })],
    ['no id', forge(HEADER, { ...claims, jti: undefined })],
    ['an id that is a list', forge(HEADER, { ...claims, jti: ['a'] })],
    ['no expiry', forge(HEADER, { ...claims, exp: undefined })],
    ['an expiry that is text', forge(HEADER, { ...claims, exp: String(claims.exp) })],
    ['a fractional expiry', forge(HEADER, { ...claims, exp: claims.exp + 0.5 })],
    ['an expiry beyond the safe integers', forge(HEADER, { ...claims, exp: 1e300 })],
    ['no time of issue', forge(HEADER, { ...claims, iat: undefined })],
    ['a time of issue that is text', forge(HEADER, { ...claims, iat: 'now' })],
    ['a payload that is text', forge(HEADER, 'text')],
    ['a payload that is null', forge(HEADER, null)],
    ['a payload that is a list', forge(HEADER, [claims])],
    ['a text before it', ` ${token}`],
    ['a line break after it', `${token}\n`],
    ['a fourth part', `${token}.a`],
    ['no signature', `${token.split('.').slice(0, 2).join('.')}.`],
    ['padding', `${token}=`],
  ])('%s', (_name, text) => {
    expect(verify(text, input)).toBeUndefined()
  })

  test('a token while the relay has no name', () => {
    expect(verify(token, { audiences: [], now })).toBeUndefined()
  })

  test('a token over the length limit, even if its signature is valid', () => {
    const fits = (pad: number): string => forge({ ...HEADER, pad: 'x'.repeat(pad) }, claims)
    let pad = 0
    while (fits(pad + 1).length <= MAX_TOKEN_BYTES) pad++
    expect(verify(fits(pad), input)).toBeDefined()
    expect(verify(fits(pad + 2), input)).toBeUndefined()
    expect(verify('a'.repeat(1_000_000), input)).toBeUndefined()
  })

  test('a subject for which issue would exceed the length limit', () => {
    expect(() => tokens.issue({ subject: 'x'.repeat(1_000), audience: name, now, id: 'i' })).toThrow(RangeError)
  })
})

test('changing any character of a token invalidates it', () => {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=.'
  // The last character carries only four bits. Lenient decoders ignore the other two, so try every spelling.
  for (const character of alphabet) {
    const other = token.slice(0, -1) + character
    expect(verify(other, input) !== undefined).toBe(other === token)
  }
  fc.assert(
    fc.property(fc.nat(token.length - 1), fc.constantFrom(...alphabet), (at, character) => {
      const other = token.slice(0, at) + character + token.slice(at + 1)
      expect(verify(other, input) !== undefined).toBe(other === token)
    }),
  )
})

test('a forged token reaches no parser: its signature is checked over its bytes first', () => {
  const parse = vi.spyOn(jsonwebtoken, 'verify')
  try {
    const forged = [
      `${encode(HEADER)}.${encode(claims)}.${'A'.repeat(43)}`,
      `${encode({ ...HEADER, pad: 'x'.repeat(500) })}.${encode(claims)}.${token.split('.')[2]}`,
      `${'['.repeat(900)}.${'A'.repeat(43)}`,
      'a'.repeat(MAX_TOKEN_BYTES),
    ]
    for (const text of forged) expect(verify(text, input)).toBeUndefined()
    expect(parse).not.toHaveBeenCalled()
    expect(verify(token, input)).toBeDefined()
    expect(parse).toHaveBeenCalledOnce()
  } finally {
    parse.mockRestore()
  }
})

test('verify never throws, whatever text it gets', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary-ascii' }), (text) => {
      expect(verify(text, input)).toBeUndefined()
    }),
  )
})

test('Tokens refuses a secret of another size or kind, and a lifetime that is not a positive integer', () => {
  expect(createSecret().symmetricKeySize).toBe(32)
  expect(createSecret().equals(createSecret())).toBe(false)
  for (const bad of [createSecretKey(randomBytes(16)), createSecretKey(randomBytes(64)), rsa.privateKey]) {
    expect(() => new Tokens({ secret: bad, seconds: 1 })).toThrow(TypeError)
  }
  for (const seconds of [0, -1, 1.5, NaN]) expect(() => new Tokens({ secret, seconds })).toThrow(TypeError)
})
