import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { encodeOnion, isOnion } from '../../src/onion/address.ts'

/** Of the Tor Project's web site. */
const ONION = '2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion'

test('an address of any key is one, and with any other letter in it is none', () => {
  const key = fc.uint8Array({ minLength: 32, maxLength: 32 })
  fc.assert(
    fc.property(key, fc.nat(55), fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz234567'), (bytes, at, letter) => {
      const onion = encodeOnion(bytes)
      expect(isOnion(onion)).toBe(true)
      const changed = `${onion.slice(0, at)}${letter}${onion.slice(at + 1)}`
      expect(isOnion(changed)).toBe(changed === onion)
    }),
  )
})

test('the checksum is that of rend-spec-v3', () => {
  const key = Buffer.alloc(32, 7)
  const checksum = createHash('sha3-256').update('.onion checksum').update(key).update(Uint8Array.of(3)).digest()
  const bits = [...key, checksum[0]!, checksum[1]!, 3].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  const text = bits.replace(/.{5}/g, (five) => 'abcdefghijklmnopqrstuvwxyz234567'[Number.parseInt(five, 2)]!)
  expect(encodeOnion(key)).toBe(`${text}.onion`)
})

test.each([
  [ONION, true],
  [`www.${ONION}`, true],
  [ONION.toUpperCase(), false],
  [ONION.replace('.onion', ''), false],
  [ONION.replace('.onion', '.onion.'), false],
  [`${ONION}.com`, false],
  [`a${ONION}`, false],
  [ONION.slice(1), false],
  ['onion', false],
  ['', false],
])('%s: %s', (host, expected) => {
  expect(isOnion(host)).toBe(expected)
})
