/** The keys of a ring as encryption takes them, and the tag of a payload. */
import { base64urlnopad } from '@scure/base'
import { type HybridKey, hybridKey } from '../../auth/age-hybrid.ts'
import { sha256 } from '../../auth/crypto.ts'
import type { Place, Ring } from './state.ts'

const TAG_BYTES = 16

/** A key of the ring that opens messages. */
export interface RingKey extends HybridKey {
  readonly place: Place
}

/**
 * Returns the keys that may open a message of the contact, for `openWith`: the oldest first, since the contact uses them
 * in this order. There are at most 128.
 */
export function listKeys(ring: Ring): RingKey[] {
  return ring.given.map(({ place, seed }) => {
    const key = hybridKey(seed)
    return {
      place,
      get recipient() {
        return key.recipient
      },
      unwrap: key.unwrap,
    }
  })
}

/** Returns the tag of a payload: the first 16 bytes of the SHA-256 of its age file, as an id. */
export function tagOf(file: Uint8Array): string {
  return base64urlnopad.encode(sha256(file).subarray(0, TAG_BYTES))
}
