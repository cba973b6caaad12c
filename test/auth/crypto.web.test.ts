/**
 * Every test of keys, age files and signatures once more, with what a page has in the place of node:crypto. The
 * same in a browser itself: test/e2e/browser.test.ts.
 */
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import * as crypto from '../../src/auth/crypto.ts'
import * as web from '../../src/auth/crypto.web.ts'

vi.mock('../../src/auth/crypto.ts', () => import('../../src/auth/crypto.web.ts'))

// Noble is slower; the full number of tries is made beside node:crypto, in crypto.test.ts and the files themselves.
fc.configureGlobal({ numRuns: 20 })

describe("with a page's primitives", async () => {
  test('which are in the place of the others', () => {
    expect(crypto.verify).toBe(web.verify)
    expect(crypto.sha256).toBe(web.sha256)
  })

  await import('./age-ssh.test.ts')
  await import('./seed.test.ts')
  await import('./ssh-key.test.ts')
  await import('./sshsig.test.ts')
})
