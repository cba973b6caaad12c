/** Base64 without padding, as the age specification demands it in stanzas. */
import { encodeBase64 } from '../protocol/base64.ts'
import { decodeBase64 } from './ssh-wire.ts'

export function encodeUnpadded(bytes: Uint8Array): string {
  return encodeBase64(bytes).replace(/=+$/, '')
}

/** Decodes canonical unpadded base64. Returns undefined for anything else. */
export function decodeUnpadded(text: string): Uint8Array | undefined {
  if (text.includes('=')) return undefined
  try {
    return decodeBase64(text.padEnd(Math.ceil(text.length / 4) * 4, '='))
  } catch {
    return undefined
  }
}
