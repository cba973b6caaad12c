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

/** The bytes of `text` if it is their canonical padded base64 (RFC 4648, section 4), and not empty. */
export function decodeBase64(text: string): Buffer {
  const bytes = Buffer.from(text, 'base64')
  // Node's decoder takes both alphabets, any padding and stray bits: only the way back tells.
  if (bytes.length === 0 || bytes.toString('base64') !== text) throw new WireError()
  return bytes
}
