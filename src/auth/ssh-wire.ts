/**
 * The SSH wire encoding (RFC 4251, section 5) of the few types that keys and signatures use, read
 * strictly: nothing is skipped, nothing may be left over, every integer has one spelling.
 * Knows no key types and holds no bytes in its errors.
 */

import { decodeBase64 as decode } from '../protocol/base64.ts'

/** The bytes are not of the form asked for. Never leaves src/auth: each module turns it into its own refusal. */
export class WireError extends Error {
  constructor() {
    super('malformed SSH encoding')
    this.name = 'WireError'
  }
}

/** RFC 4251, section 6: names are printable US-ASCII without comma or space, at most 64 characters. */
const NAME = /^[!-+\--~]{1,64}$/
const NAME_BYTES = 64

/** Reads one encoding from its start to its end. Every method throws {@link WireError}. */
export class WireReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** The next `length` bytes, as a view. */
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

  /** A string that must be an algorithm's or key type's name. */
  name(): string {
    const text = String.fromCharCode(...this.string().subarray(0, NAME_BYTES + 1))
    if (!NAME.test(text)) throw new WireError()
    return text
  }

  /** A positive mpint in its only spelling, as its magnitude without the sign byte. */
  mpint(): Uint8Array {
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

const utf8 = new TextEncoder()

/** The parts one after the other, in memory of their own, which may be overwritten as a whole. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

/** Whether they are the same bytes. Not in constant time: nothing secret is compared so. */
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

/** @param magnitude big-endian, unsigned; leading zeros are dropped. */
export function encodeMpint(magnitude: Uint8Array): Uint8Array {
  const start = magnitude.findIndex((byte) => byte !== 0)
  if (start === -1) return encodeUint32(0)
  const bytes = magnitude.subarray(start)
  return encodeString(bytes[0]! >= 0x80 ? concat(Uint8Array.of(0), bytes) : bytes)
}

/**
 * The bytes that `text` is the canonical padded base64 of (RFC 4648, section 4), at least one, in memory of
 * their own for the caller to overwrite.
 */
export function decodeBase64(text: Uint8Array | string): Uint8Array {
  const bytes = decode(typeof text === 'string' ? utf8.encode(text) : text)
  if (bytes === undefined) throw new WireError()
  return bytes
}
