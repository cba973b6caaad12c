/**
 * The SSH wire encoding (RFC 4251, section 5) of the few types that keys and signatures use, read
 * strictly: nothing is skipped, nothing may be left over, every integer has one spelling.
 * Knows no key types and holds no bytes in its errors.
 */

/** The bytes are not of the form asked for. Never leaves src/auth: each module turns it into its own refusal. */
export class WireError extends Error {
  constructor() {
    super('malformed SSH encoding')
    this.name = 'WireError'
  }
}

/** The same memory with Buffer's methods; nothing is copied. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** RFC 4251, section 6: names are printable US-ASCII without comma or space, at most 64 characters. */
const NAME = /^[!-+\--~]{1,64}$/

/** Reads one encoding from its start to its end. Every method throws {@link WireError}. */
export class WireReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = asBuffer(bytes)
  }

  /** The next `length` bytes, as a view. */
  bytes(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw new WireError()
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  uint8(): number {
    return this.bytes(1).readUInt8()
  }

  uint32(): number {
    return this.bytes(4).readUInt32BE()
  }

  string(): Buffer {
    return this.bytes(this.uint32())
  }

  /** A string that must be an algorithm's or key type's name. */
  name(): string {
    const text = this.string().toString('latin1')
    if (!NAME.test(text)) throw new WireError()
    return text
  }

  /** A positive mpint in its only spelling, as its magnitude without the sign byte. */
  mpint(): Buffer {
    const bytes = this.string()
    const first = bytes[0]
    if (first === undefined || first >= 0x80) throw new WireError()
    if (first > 0) return bytes
    const second = bytes[1]
    if (second === undefined || second < 0x80) throw new WireError()
    return bytes.subarray(1)
  }

  /** Bytes read so far. */
  get position(): number {
    return this.#at
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  end(): void {
    if (!this.atEnd) throw new WireError()
  }
}

export function encodeUint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function encodeString(value: Uint8Array | string): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  return Buffer.concat([encodeUint32(bytes.length), bytes])
}

/** @param magnitude big-endian, unsigned; leading zeros are dropped. */
export function encodeMpint(magnitude: Uint8Array): Buffer {
  const start = magnitude.findIndex((byte) => byte !== 0)
  if (start === -1) return encodeUint32(0)
  const bytes = magnitude.subarray(start)
  return encodeString((bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes)
}

const PADDING = 0x3d
/** The value of each of the 64 characters (RFC 4648, section 4), -1 for every other byte. */
const DIGITS = new Int8Array(256).fill(-1)
for (const [value, digit] of [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'].entries()) {
  DIGITS[digit.charCodeAt(0)] = value
}

/**
 * The bytes that `text` is the canonical padded base64 of (RFC 4648, section 4), at least one, in memory of
 * their own for the caller to overwrite. Ours and not Node's, since that one reads strings, which nobody can
 * overwrite, and takes both alphabets, any padding and stray bits.
 */
export function decodeBase64(text: Uint8Array | string): Buffer {
  const digits = typeof text === 'string' ? Buffer.from(text) : text
  const { length } = digits
  if (length === 0 || length % 4 !== 0) throw new WireError()
  const padding = digits[length - 1] !== PADDING ? 0 : digits[length - 2] !== PADDING ? 1 : 2
  const bytes = Buffer.alloc((length / 4) * 3 - padding)
  let bits = 0
  let wrong = 0
  let at = 0
  for (let i = 0; i < length - padding; i++) {
    const value = DIGITS[digits[i]!]!
    wrong |= value
    bits = (bits << 6) | value
    // Of each four digits, the second, third and fourth complete a byte.
    if ((i & 3) > 0) bytes[at++] = bits >> (6 - 2 * (i & 3))
  }
  const stray = bits & (padding === 0 ? 0 : padding === 1 ? 0b11 : 0b1111)
  if (wrong >= 0 && stray === 0) return bytes
  bytes.fill(0)
  throw new WireError()
}
