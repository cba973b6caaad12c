/** Addresses of onion services (rend-spec-v3, ONIONADDRESS). Pure; runs in a page, too. */
import { base32nopad } from '@scure/base'
import { sha3 } from '../auth/crypto.ts'

const VERSION = 3
const KEY_BYTES = 32
const CHECKSUM_BYTES = 2
const LABEL = new TextEncoder().encode('.onion checksum')

/** Returns the address of a service's public key, `….onion`: base32 of key, checksum and version. */
export function encodeOnion(publicKey: Uint8Array): string {
  const checksum = sha3(Uint8Array.of(...LABEL, ...publicKey, VERSION)).subarray(0, CHECKSUM_BYTES)
  return `${base32nopad.encode(Uint8Array.of(...publicKey, ...checksum, VERSION)).toLowerCase()}.onion`
}

/** The last 64 right addresses: a client dials the same few again and again. */
const known = new Set<string>()
const KNOWN = 64

/** Returns whether a host name is an onion address whose checksum is right. Subdomains are allowed, upper case is not. */
export function isOnion(host: string): boolean {
  const name = host.split('.').slice(-2).join('.')
  if (known.has(name)) return true
  if (!/^[a-z2-7]{56}\.onion$/.test(name)) return false
  // 56 characters of five bits are exactly 35 bytes, so this cannot throw.
  const key = base32nopad.decode(name.slice(0, 56).toUpperCase()).subarray(0, KEY_BYTES)
  if (encodeOnion(key) !== name) return false
  known.add(name)
  if (known.size > KNOWN) known.delete(known.keys().next().value!)
  return true
}
