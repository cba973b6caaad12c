import { createDecipheriv, pbkdf2Sync } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { openByPassphrase, PassphraseError, type PassphraseProblem, sealByPassphrase } from '../../../src/client/format/passphrase.ts'

const TYPE = 'asfaleia-profile/1'
const BYTES = Buffer.from('the kettle is on')
const PASSPHRASE = 'correct horse ünd'
const sealed = await sealByPassphrase(BYTES, PASSPHRASE, TYPE)
const parts = sealed.split('.')

/** Opens a JWE as RFC 7516 and RFC 7518 say, by node:crypto. */
function openByHand(text: string, passphrase: string): Buffer {
  const [header = '', wrapped = '', iv = '', content = '', tag = ''] = text.split('.')
  const bytes = (part: string): Buffer => Buffer.from(part, 'base64url')
  const { alg, p2s, p2c } = JSON.parse(bytes(header).toString()) as { alg: string; p2s: string; p2c: number }
  const wrapping = pbkdf2Sync(passphrase, Buffer.concat([Buffer.from(`${alg}\0`), bytes(p2s)]), p2c, 32, 'sha512')
  const unwrap = createDecipheriv('id-aes256-wrap', wrapping, Buffer.alloc(8, 0xa6))
  const key = Buffer.concat([unwrap.update(bytes(wrapped)), unwrap.final()])
  const decipher = createDecipheriv('aes-256-gcm', key, bytes(iv)).setAAD(Buffer.from(header)).setAuthTag(bytes(tag))
  return Buffer.concat([decipher.update(bytes(content)), decipher.final()])
}

const withHeader = (change: Readonly<Record<string, unknown>>): string => {
  const header = JSON.parse(Buffer.from(parts[0]!, 'base64url').toString()) as object
  return [Buffer.from(JSON.stringify({ ...header, ...change })).toString('base64url'), ...parts.slice(1)].join('.')
}
const withPart = (index: number, change: (part: string) => string): string =>
  parts.map((part, n) => (n === index ? change(part) : part)).join('.')
const flip = (part: string): string => {
  const bytes = Buffer.from(part, 'base64url')
  bytes[0]! ^= 1
  return bytes.toString('base64url')
}

describe('bytes encrypted by a passphrase', () => {
  it('open with that passphrase, and by node:crypto as the RFCs say', async () => {
    expect(Buffer.from(await openByPassphrase(`${sealed}\r\n`, PASSPHRASE, TYPE))).toEqual(BYTES)
    expect(openByHand(sealed, PASSPHRASE)).toEqual(BYTES)
    const header = JSON.parse(Buffer.from(parts[0]!, 'base64url').toString()) as object
    expect(header).toMatchObject({ alg: 'PBES2-HS512+A256KW', enc: 'A256GCM', p2c: 600_000, typ: TYPE })
  })

  it.each<[string, PassphraseProblem, string]>([
    ['a flipped byte of the content', 'damaged', withPart(3, flip)],
    ['a flipped byte of the tag', 'damaged', withPart(4, flip)],
    ['a flipped byte of the key', 'wrong-passphrase', withPart(1, flip)],
    ['a flipped byte of the salt', 'wrong-passphrase', withHeader({ p2s: Buffer.alloc(16, 1).toString('base64url') })],
    [
      'other spacing in the header',
      'damaged',
      withPart(0, (part) => Buffer.from(Buffer.from(part, 'base64url').toString().replace(':', ': ')).toString('base64url')),
    ],
    ['a cut end', 'damaged', withPart(3, (part) => Buffer.from(part, 'base64url').subarray(0, -2).toString('base64url'))],
    ['no tag', 'malformed', parts.slice(0, 4).join('.')],
    ['a part too many', 'malformed', `${sealed}.x`],
    ['nothing', 'malformed', ''],
    ['a newer version', 'newer-version', withHeader({ typ: 'asfaleia-profile/2' })],
    ['another kind of content', 'other-kind', withHeader({ typ: 'JWT' })],
    ['another algorithm', 'malformed', withHeader({ alg: 'dir' })],
    ['another encryption', 'malformed', withHeader({ enc: 'A128CBC-HS256' })],
    ['an unknown header', 'malformed', withHeader({ zip: 'DEF' })],
    ['a huge number of iterations', 'iterations', withHeader({ p2c: 4_000_000_000 })],
    ['few iterations', 'iterations', withHeader({ p2c: 1_000 })],
    ['a fraction of iterations', 'iterations', withHeader({ p2c: 700_000.5 })],
    ['iterations in words', 'iterations', withHeader({ p2c: '600000' })],
    ['a short salt', 'malformed', withHeader({ p2s: 'AAAA' })],
    ['padded base64', 'malformed', withPart(2, (part) => `${part}=`)],
    ['a long header', 'malformed', withHeader({ p2s: 'A'.repeat(2_000) })],
  ])('do not open with %s', async (_, problem, text) => {
    await expect(openByPassphrase(text, PASSPHRASE, TYPE)).rejects.toThrow(new PassphraseError(problem))
  })

  it('do not open with another passphrase', async () => {
    await expect(openByPassphrase(sealed, 'correct horse', TYPE)).rejects.toThrow(new PassphraseError('wrong-passphrase'))
  })
})
