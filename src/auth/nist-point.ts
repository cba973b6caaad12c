/**
 * Whether bytes are a point of a NIST curve (SEC 1, section 3.2.2.1; the parameters are those of SP 800-186). The curves have
 * the cofactor 1, so every point on one of them may be a key. The time depends on the point, which is public.
 */
import type { EcdsaCurve } from './key-material.ts'

interface Curve {
  /** Bytes of a coordinate. */
  readonly size: number
  /** y² = x³ - 3x + b, modulo p. */
  readonly p: bigint
  readonly b: bigint
}

const CURVES: Readonly<Record<EcdsaCurve, Curve>> = {
  nistp256: {
    size: 32,
    p: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
  },
  nistp384: {
    size: 48,
    p: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
  },
  nistp521: {
    size: 66,
    p: 2n ** 521n - 1n,
    b: 0x51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00n,
  },
}
/** The first byte of an uncompressed point. */
const UNCOMPRESSED = 4

/** Checks an uncompressed point: 4, x and y (SEC 1, section 2.3.3). */
export function isNistPoint(curve: EcdsaCurve, point: Uint8Array): boolean {
  const { size, p, b } = CURVES[curve]
  if (point.length !== 1 + 2 * size || point[0] !== UNCOMPRESSED) return false
  const x = readNumber(point.subarray(1, 1 + size))
  const y = readNumber(point.subarray(1 + size))
  return x < p && y < p && (y * y - (x * x - 3n) * x - b) % p === 0n
}

function readNumber(bytes: Uint8Array): bigint {
  return BigInt(`0x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')}`)
}
