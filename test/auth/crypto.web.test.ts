/**
 * Runs every test of keys, age files and signatures again with the primitives that a page uses instead of
 * node:crypto. test/e2e/browser.test.ts does the same in a real browser.
 */
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import * as crypto from '../../src/auth/crypto.ts'
import * as web from '../../src/auth/crypto.web.ts'

vi.mock('../../src/auth/crypto.ts', () => import('../../src/auth/crypto.web.ts'))

// Noble is slower. The full number of runs happens in crypto.test.ts and in the imported files themselves.
fc.configureGlobal({ numRuns: 20 })

describe('with the primitives of a page', async () => {
  test('the mock replaces node:crypto', () => {
    expect(crypto.verify).toBe(web.verify)
    expect(crypto.sha256).toBe(web.sha256)
  })

  await import('./age-ssh.test.ts')
  await import('./seed.test.ts')
  await import('./ssh-key.test.ts')
  await import('./sshsig.test.ts')
})
