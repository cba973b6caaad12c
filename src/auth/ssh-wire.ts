/**
 * The SSH wire encoding (RFC 4251, section 5) of the few types that keys and signatures use. The reader is strict: it
 * skips nothing, allows no rest, and accepts one spelling of an integer. Knows no key types, and puts no bytes into its
 * errors.
 */

import { decodeBase64 as decode } from '../protocol/base64.ts'

/** Reports malformed bytes. It never leaves src/auth: each module turns it into its own error. */
export class WireError extends Error {
  constructor() {
    super('malformed SSH encoding')
    this.name = 'WireError'
  }
}

/** A name is printable US-ASCII without comma or space, of at most 64 characters (RFC 4251, section 6). */
const NAME = /^[!-+\--~]{1,64}$/
const NAME_BYTES = 64

/** Reads one encoding from its start to its end. Every method throws {@link WireError}. */
export class WireReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Reads `length` bytes, as a view. */
  bytes(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw new WireError()
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }

  uint8(): number {
    return this.bytes(1)[0]!
  }

  uint32(): number {
    const [a, b, c, d] = this.bytes(4) as unknown as [number, number, number, number]
    return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
  }

  string(): Uint8Array {
    return this.bytes(this.uint32())
  }

  /** Reads a string that must be the name of an algorithm or key type. */
  name(): string {
    const text = String.fromCharCode(...this.string().subarray(0, NAME_BYTES + 1))
    if (!NAME.test(text)) throw new WireError()
    return text
  }

  /** Reads a positive mpint in its only spelling. Returns its magnitude without the sign byte. */
  mpint(): Uint8Array {
    const bytes = this.string()
    const first = bytes[0]
    if (first === undefined || first >= 0x80) throw new WireError()
    if (first > 0) return bytes
    const second = bytes[1]
    if (second === undefined || second < 0x80) throw new WireError()
    return bytes.subarray(1)
  }

  /** The count of bytes read. */
  get position(): number {
    return this.#at
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  /** Checks that nothing is left. */
  end(): void {
    if (!this.atEnd) throw new WireError()
  }
}

const utf8 = new TextEncoder()

/** Joins parts in new memory, which the caller may overwrite as a whole. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** Compares bytes, but not in constant time: not for secrets. */
export function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at])
}

export function encodeUint32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value)
}

export function encodeString(value: Uint8Array | string): Uint8Array {
  const bytes = typeof value === 'string' ? utf8.encode(value) : value
  return concat(encodeUint32(bytes.length), bytes)
}

/** Encodes a positive mpint. @param magnitude big-endian, unsigned; leading zeros are dropped */
export function encodeMpint(magnitude: Uint8Array): Uint8Array {
  const start = magnitude.findIndex((byte) => byte !== 0)
  if (start === -1) return encodeUint32(0)
  const bytes = magnitude.subarray(start)
  return encodeString(bytes[0]! >= 0x80 ? concat(Uint8Array.of(0), bytes) : bytes)
}

/**
 * Decodes canonical padded base64 (RFC 4648, section 4) of at least one byte, into new memory that the caller may
 * overwrite.
 *
 * @throws {WireError} for any other text
 */
export function decodeBase64(text: Uint8Array | string): Uint8Array {
  const bytes = decode(typeof text === 'string' ? utf8.encode(text) : text)
  if (bytes === undefined) throw new WireError()
  return bytes
}
