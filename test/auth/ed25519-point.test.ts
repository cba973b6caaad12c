import { ed25519, ED25519_TORSION_SUBGROUP } from '@noble/curves/ed25519.js'
import { array, assert as check, bigInt, boolean, constantFrom, integer, oneof, property, tuple, uint8Array } from 'fast-check'
import { expect, test } from 'vitest'
import { isSoundPoint, toMontgomery } from '../../src/auth/ed25519-point.ts'

const { Fp } = ed25519.Point
const P = Fp.ORDER

/** What a full decoding says, strictly by RFC 8032. */
function decodes(bytes: Uint8Array): boolean {
  try {
    return !ed25519.Point.fromBytes(bytes, false).isSmallOrder()
  } catch {
    return false
  }
}

const encode = (y: bigint, sign: boolean): Uint8Array => {
  const bytes = Fp.toBytes(y)
  if (sign) bytes[31]! |= 0x80
  return bytes
}

/** Any canonical y; half of them are on the curve. */
const anything = tuple(bigInt({ min: 0n, max: P - 1n }), boolean()).map(([y, sign]) => encode(y, sign))
/** Short numbers and their negatives, among them 0, 1 and -1. */
const short = tuple(bigInt({ min: 0n, max: 300n }), boolean(), boolean()).map(([y, minus, sign]) => encode(minus ? Fp.neg(y) : y, sign))
/** y with long runs of zeros: many factors of two at once. */
const sparse = tuple(array(integer({ min: 0, max: 254 }), { minLength: 1, maxLength: 3 }), boolean()).map(([bits, sign]) =>
  encode(bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n) % P, sign),
)
const keys = uint8Array({ minLength: 32, maxLength: 32 }).map((seed) => ed25519.getPublicKey(seed))
const torsion = constantFrom(...ED25519_TORSION_SUBGROUP.map((hex) => Uint8Array.from(Buffer.from(hex, 'hex')))).filter(
  (bytes) => Fp.fromBytes(bytes.map((byte, at) => (at === 31 ? byte & 0x7f : byte))) < P,
)

test('a point is sound exactly if a full decoding accepts it, and finds it of another order than 1, 2, 4 and 8', () => {
  check(
    property(oneof(anything, short, sparse, keys, torsion), (bytes) => {
      expect(isSoundPoint(bytes)).toBe(decodes(bytes))
    }),
    { numRuns: 3_000 },
  )
})

test('every key is sound, and no point of small order is', () => {
  for (let n = 0; n < 50; n++) expect(isSoundPoint(ed25519.getPublicKey(ed25519.utils.randomSecretKey()))).toBe(true)
  for (const hex of ED25519_TORSION_SUBGROUP) expect([hex, isSoundPoint(Buffer.from(hex, 'hex'))]).toEqual([hex, false])
})

test('a point is read at its place in a longer buffer', () => {
  const key = ed25519.getPublicKey(ed25519.utils.randomSecretKey())
  const around = Buffer.concat([Buffer.alloc(3, 0xff), key, Buffer.alloc(3, 0xff)])
  expect(isSoundPoint(around.subarray(3, 35))).toBe(true)
})

test('every sound point has the X25519 form that @noble/curves computes', () => {
  check(
    property(oneof(anything, short, sparse, keys).filter(isSoundPoint), (bytes) => {
      expect(Buffer.from(toMontgomery(bytes)).toString('hex')).toBe(Buffer.from(ed25519.utils.toMontgomery(bytes)).toString('hex'))
    }),
    { numRuns: 1_000 },
  )
})
