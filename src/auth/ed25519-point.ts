/**
 * Points of ed25519: whether 32 bytes are a point that may be a key, and that point as X25519 has it.
 *
 * The check answers whether the point is on the curve and not of small order (RFC 8032, section 5.1.3; RFC 7748, section
 * 6.1). It does not compute the point: the square root of a full decoding takes 254 squarings, and a Jacobi symbol takes
 * a sixth of the time. A relay checks every key that a stranger names, and does not remember which keys it checked.
 *
 * The time depends on the key, which is public.
 */

const P = 2n ** 255n - 19n
/** The curve's d, -121665/121666. */
const D = 37_095_705_934_669_439_343_138_083_508_754_565_189_542_113_879_843_219_016_388_785_533_085_940_283_555n
/** y of a point of order 8; of the four such points, two have this y and two have its negative. */
const EIGHTH = 55_188_659_117_513_257_062_467_267_217_118_295_137_698_188_065_244_968_500_265_048_394_206_261_417_927n

/**
 * Checks a point.
 *
 * @param bytes 32 bytes: y, little-endian and below 2^255 - 19, with the sign bit of x
 */
export function isSoundPoint(bytes: Uint8Array): boolean {
  const y = readY(bytes)
  // The orders 4 and 8. For the orders 1 and 2, y is 1 or -1, so the symbol below is 0.
  if (y === 0n || y === EIGHTH || y === P - EIGHTH) return false
  // x² = u/v (RFC 8032, section 5.1.3), and u/v is a square exactly if u·v is. v is never 0, because d is no square.
  const square = (y * y) % P
  return jacobi(((square - 1n + P) * (((D * square) % P) + 1n)) % P, P) === 1
}

/**
 * Maps a point to X25519: u = (1 + y) / (1 - y) (RFC 7748, section 4.1).
 *
 * @param bytes a point that {@link isSoundPoint} accepts, so y is not 1
 * @returns u, 32 bytes, little-endian
 */
export function toMontgomery(bytes: Uint8Array): Uint8Array {
  const y = readY(bytes)
  const u = ((1n + y) * invert((1n - y + P) % P)) % P
  const encoded = new Uint8Array(32)
  const words = new DataView(encoded.buffer)
  for (let at = 0; at < 4; at++) words.setBigUint64(8 * at, BigInt.asUintN(64, u >> BigInt(64 * at)), true)
  return encoded
}

/** Computes the inverse modulo P by Euclid's extended algorithm. @param value from 1 to P - 1 */
function invert(value: bigint): bigint {
  let [a, b] = [value, P]
  let [x, y] = [1n, 0n]
  while (a !== 1n) {
    const quotient = b / a
    ;[a, b] = [b - quotient * a, a]
    ;[x, y] = [y - quotient * x, x]
  }
  return (x + P) % P
}

function readY(bytes: Uint8Array): bigint {
  const words = new DataView(bytes.buffer, bytes.byteOffset, 32)
  const word = (at: number): bigint => words.getBigUint64(at, true)
  return (BigInt.asUintN(63, word(24)) << 192n) | (word(16) << 128n) | (word(8) << 64n) | word(0)
}

/**
 * Computes the Jacobi symbol (a/n) for an odd positive n by quadratic reciprocity (Cohen, A Course in Computational
 * Algebraic Number Theory, algorithm 1.4.10). For a prime n it is Legendre's: 1 for squares, 0 for 0, and otherwise -1.
 */
function jacobi(a: bigint, n: bigint): number {
  let symbol = 1
  let lowN = lowest(n)
  while (a !== 0n) {
    let lowA = lowest(a)
    while (lowA === 0) {
      // 32 factors of two: an even number changes nothing.
      a >>= 32n
      lowA = lowest(a)
    }
    const twos = 31 - Math.clz32(lowA & -lowA)
    if (twos > 0) {
      a >>= BigInt(twos)
      lowA = lowest(a)
      // (2/n) is -1 for n = 3 and 5 modulo 8.
      if (twos % 2 === 1 && ((lowN & 7) === 3 || (lowN & 7) === 5)) symbol = -symbol
    }
    if ((lowA & lowN & 2) !== 0) symbol = -symbol
    const rest = n % a
    n = a
    lowN = lowA
    a = rest
  }
  return n === 1n ? symbol : 0
}

/** The lowest 32 bits. */
function lowest(value: bigint): number {
  return Number(BigInt.asUintN(32, value)) | 0
}
