/** The public part of RSA keys (docs/protocol.md, section 3): its bounds, and which of them a key exceeds. */
import { decodeBase64, isSame, WireError, WireReader } from './ssh-wire.ts'

const SIZE = { min: 2_048, max: 8_192 }
/**
 * The protocol demands at least 65537, which OpenSSH's keys have. The work of a check grows with the exponent's bits, and
 * anyone can name such a key. BoringSSL takes 33 bits at most, Go 31, and Go's SSH, and so age, 24
 * (docs/decisions/0019-rsa-exponents.md).
 */
const EXPONENT = { min: 65_537, maxBits: 33 }

export interface RsaNumbers {
  /** Big-endian, without zeros at the start. */
  readonly modulus: Uint8Array
  readonly exponent: Uint8Array
}

/** The bound that a key exceeds. */
export type RsaFault = 'rsa-size' | 'rsa-exponent'

/** Reads the numbers of a key and checks their bounds. @throws {WireError} */
export function readRsa(reader: WireReader): RsaNumbers {
  const exponent = reader.mpint()
  const modulus = reader.mpint()
  if (modulus.at(-1)! % 2 === 0 || checkBounds({ modulus, exponent }) !== undefined) throw new WireError()
  return { modulus, exponent }
}

function checkBounds({ modulus, exponent }: RsaNumbers): RsaFault | undefined {
  const bits = bitLength(modulus)
  if (bits < SIZE.min || bits > SIZE.max) return 'rsa-size'
  if (bitLength(exponent) > EXPONENT.maxBits || exponent.at(-1)! % 2 === 0) return 'rsa-exponent'
  return exponent.reduce((sum, byte) => sum * 256 + byte, 0) < EXPONENT.min ? 'rsa-exponent' : undefined
}

/** @param magnitude without a zero at its start */
function bitLength(magnitude: Uint8Array): number {
  return magnitude.length * 8 - (Math.clz32(magnitude[0]!) - 24)
}

const RSA = new TextEncoder().encode('ssh-rsa')

/**
 * Finds the bound that an RSA key exceeds, to explain why it was refused.
 *
 * @param blob a key's blob, which may be malformed
 * @returns undefined if the blob is no RSA key, or its bounds are right
 */
export function findRsaFault(blob: Uint8Array): RsaFault | undefined {
  try {
    const reader = new WireReader(blob)
    if (!isSame(reader.string(), RSA)) return undefined
    const exponent = reader.mpint()
    return checkBounds({ exponent, modulus: reader.mpint() })
  } catch (error) {
    if (error instanceof WireError) return undefined
    throw error
  }
}

const SPACE = 0x20

/** As {@link findRsaFault}, for `type base64` with one space. */
export function findFaultOfLine(line: Uint8Array): RsaFault | undefined {
  let blob: Uint8Array | undefined
  try {
    blob = decodeBase64(line.subarray(line.indexOf(SPACE) + 1))
    return findRsaFault(blob)
  } catch (error) {
    if (error instanceof WireError) return undefined
    throw error
  } finally {
    blob?.fill(0)
  }
}
