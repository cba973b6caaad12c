/** The bound that an RSA key exceeds: it explains why a key was refused. */
import { describe, expect, test } from 'vitest'
import { findFaultOfLine, findRsaFault } from '../../src/auth/rsa.ts'
import { buildBlob } from './openssh.ts'

/** An odd number of so many bits. */
const odd = (bits: number): bigint => 2n ** BigInt(bits - 1) + 1n
const F4 = 65_537n

describe('the fault of a key', () => {
  test.each([
    ['2,047 bits', F4, odd(2_047), 'rsa-size'],
    ['2,048 bits', F4, odd(2_048), undefined],
    ['8,192 bits', F4, odd(8_192), undefined],
    ['8,193 bits', F4, odd(8_193), 'rsa-size'],
    ['an exponent of 65,535', 65_535n, odd(2_048), 'rsa-exponent'],
    ['an even exponent', 65_538n, odd(2_048), 'rsa-exponent'],
    ['an exponent of 33 bits', odd(33), odd(2_048), undefined],
    ['an exponent of 34 bits', odd(34), odd(2_048), 'rsa-exponent'],
    ['both out of bounds', 3n, odd(1_024), 'rsa-size'],
  ] as const)('with %s', (_what, exponent, modulus, fault) => {
    const blob = buildBlob('ssh-rsa', exponent, modulus)
    expect(findRsaFault(blob)).toBe(fault)
    expect(findFaultOfLine(Buffer.from(`ssh-rsa ${blob.toString('base64')}`))).toBe(fault)
  })

  test.each([
    ['of another type', buildBlob('ecdsa-sha2-nistp256', 'nistp256', Buffer.of(4, 1, 2))],
    ['without its numbers', buildBlob('ssh-rsa')],
    ['that is cut off', buildBlob('ssh-rsa', F4, odd(1_024)).subarray(0, -1)],
    ['without a byte', Buffer.alloc(0)],
  ])('%s is unknown', (_what, blob) => {
    expect(findRsaFault(blob)).toBeUndefined()
    expect(findFaultOfLine(Buffer.from(`x ${blob.toString('base64')}`))).toBeUndefined()
  })

  test('whose base64 is malformed is unknown', () => {
    expect(findFaultOfLine(Buffer.from('ssh-rsa A'))).toBeUndefined()
  })
})
