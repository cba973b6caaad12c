/**
 * Runs every test of keys, age files and signatures again with the primitives that a page uses instead of
 * node:crypto. test/e2e/browser.test.ts does the same in a real browser.
 */
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import * as crypto from '../../src/auth/crypto.ts'
import * as web from '../../src/auth/crypto.web.ts'

vi.mock('../../src/auth/crypto.ts', () => import('../../src/auth/crypto.web.ts'))

const globalCrypto = globalThis.crypto

// Noble is slower. The full number of runs happens in crypto.test.ts and in the imported files themselves.
fc.configureGlobal({ numRuns: 20 })

describe('with the primitives of a page', async () => {
  test('the mock replaces node:crypto', () => {
    expect(crypto.verify).toBe(web.verify)
    expect(crypto.sha256).toBe(web.sha256)
  })

  await import('./age-hybrid.test.ts')
  await import('./age-ssh.test.ts')
  await import('./seed.test.ts')
  await import('./ssh-key.test.ts')
  await import('./sshsig.test.ts')
})

describe('in an insecure context, which has no crypto.subtle', () => {
  beforeEach(
    () => void vi.stubGlobal('crypto', { getRandomValues: (bytes: Uint8Array<ArrayBuffer>) => globalCrypto.getRandomValues(bytes) }),
  )
  afterEach(() => void vi.unstubAllGlobals())
  const message = Buffer.from('text')

  test('ed25519 signatures are checked all the same', async () => {
    const { point, sign } = web.ed25519(Buffer.alloc(32, 7))
    const key = { kind: 'ed25519', point } as const
    const signature = sign(message)
    expect(await web.verify(key, undefined, message, signature)).toBe(true)
    expect(await web.verify(key, undefined, Buffer.from('other'), signature)).toBe(false)
    expect(await web.verify(key, undefined, message, signature.subarray(1))).toBe(false)
    expect(await web.verify({ kind: 'ed25519', point: Buffer.alloc(32, 0xff) }, undefined, message, signature)).toBe(false)
  })

  test.each([
    { kind: 'ecdsa', curve: 'nistp256', point: Buffer.alloc(65, 4) },
    { kind: 'rsa', modulus: Buffer.alloc(256, 0xff), exponent: Buffer.of(1, 0, 1) },
  ] as const)('a signature by $kind is neither good nor bad', async (key) => {
    const checked = web.verify(key, 'sha256', message, Buffer.alloc(64))
    await expect(checked).rejects.toMatchObject({ name: 'MissingCryptoError', code: 'insecure-context' })
  })

  test('encryption to an RSA key says what is missing', async () => {
    const key = { kind: 'rsa', modulus: Buffer.alloc(256, 0xff), exponent: Buffer.of(1, 0, 1) } as const
    await expect(web.encryptOaep(key, message, message)).rejects.toMatchObject({ code: 'insecure-context' })
  })
})

test('an RSA exponent that a browser does not take makes a signature neither good nor bad', async () => {
  const key = { kind: 'rsa', modulus: Buffer.alloc(256, 0xff), exponent: Buffer.of(1, 0, 0, 0, 1) } as const
  await expect(web.verify(key, 'sha256', Buffer.of(1), Buffer.alloc(256))).rejects.toMatchObject({ code: 'unsupported-key' })
})
