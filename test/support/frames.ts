/** WebSocket frames (RFC 6455, section 5.2) as clients and relays write them, forbidden ones included. */
export const [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10] as const

export interface FrameOptions {
  readonly opcode?: number
  readonly fin?: boolean
  readonly reserved?: number
  /** The masking key of four bytes; undefined for no mask. */
  readonly mask?: Uint8Array | undefined
  /** A false length for the header. */
  readonly length?: number
  /** The number of bytes that encode the length. */
  readonly lengthBytes?: 0 | 2 | 8
}

export const MASK = Uint8Array.of(0x37, 0xfa, 0x21, 0x3d)

export function encodeFrame(payload: Uint8Array | string, options: FrameOptions = {}): Uint8Array {
  const bytes = Buffer.from(payload as string, 'latin1')
  const { opcode = TEXT, fin = true, reserved = 0, length = bytes.length } = options
  const mask = 'mask' in options ? options.mask : MASK
  const { lengthBytes = length < 126 ? 0 : length < 65_536 ? 2 : 8 } = options
  const said = Buffer.alloc(8)
  said.writeBigUInt64BE(BigInt(length))
  return Buffer.concat([
    Buffer.of((fin ? 0x80 : 0) | (reserved << 4) | opcode),
    Buffer.of((mask === undefined ? 0 : 0x80) | (lengthBytes === 0 ? length : lengthBytes === 2 ? 126 : 127)),
    said.subarray(8 - lengthBytes),
    mask ?? Buffer.alloc(0),
    bytes.map((byte, n) => byte ^ (mask?.[n & 3] ?? 0)),
  ])
}

export interface Frame {
  readonly opcode: number
  readonly payload: Buffer
}

/**
 * Decodes a relay's frames, each of which must be final and unmasked; returns them and the bytes after the last
 * one.
 */
export function decodeFrames(bytes: Uint8Array): { frames: Frame[]; rest: Buffer } {
  const frames: Frame[] = []
  let rest = Buffer.from(bytes)
  while (rest.length >= 2) {
    const [first, second] = [rest[0]!, rest[1]!]
    if ((first & 0xf0) !== 0x80 || second > 127) throw new Error('a relay sends whole frames without a mask')
    const lengthBytes = second === 126 ? 2 : second === 127 ? 8 : 0
    const head = 2 + lengthBytes
    if (rest.length < head) break
    const length = lengthBytes === 0 ? second : Number(BigInt(`0x${rest.subarray(2, head).toString('hex')}`))
    if (rest.length < head + length) break
    frames.push({ opcode: first & 0x0f, payload: rest.subarray(head, head + length) })
    rest = rest.subarray(head + length)
  }
  return { frames, rest }
}
