import { createHash, randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { fingerprintOfSecret } from '../../src/auth/secret.ts'
import { parseReceiver } from '../../src/auth/ssh-key.ts'

const read = (text: string): string | undefined => fingerprintOfSecret(Buffer.from(text, 'latin1'))?.toString('base64')
const SECRET = randomBytes(32)
const TEXT = SECRET.toString('base64url')

it('the fingerprint of a secret is SHA-256 of its bytes, which SEND takes as a receiver', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (secret) => {
      const digest = createHash('sha256').update(secret).digest('base64')
      expect(read(Buffer.from(secret).toString('base64url'))).toBe(digest)
      const receiver = parseReceiver(Buffer.from(`SHA256:${digest.replace('=', '')}`))
      expect(Buffer.from(receiver.fingerprint).toString('base64')).toBe(digest)
    }),
  )
})

it('a secret of zeros is one', () => {
  const zeros = Buffer.alloc(32)
  expect(read(zeros.toString('base64url'))).toBe(createHash('sha256').update(zeros).digest('base64'))
})

it.each([
  ['nothing', ''],
  ['a character less', TEXT.slice(1)],
  ['a character more', `${TEXT}A`],
  ['padding', `${TEXT}=`],
  ['base64', Buffer.alloc(32, 0xff).toString('base64').slice(0, 43)],
  ['a plus', `+${TEXT.slice(1)}`],
  ['a slash', `/${TEXT.slice(1)}`],
  ['a space', ` ${TEXT.slice(1)}`],
  ['a high byte', `${TEXT.slice(0, 20)}\u{ff}${TEXT.slice(21)}`],
  ['31 bytes', randomBytes(31).toString('base64url')],
  ['33 bytes', randomBytes(33).toString('base64url')],
])('a secret is refused with %s', (_name, text) => {
  expect(read(text)).toBeUndefined()
})

it('a secret has one spelling: of all last characters, one in four is canonical', () => {
  const last = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  const good = [...last].filter((character) => read(TEXT.slice(0, -1) + character) !== undefined)
  expect(good.join('')).toBe('AEIMQUYcgkosw048')
})
