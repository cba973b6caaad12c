/**
 * The numbers of a public key, as the SSH wire format carries them. ssh-key.ts reads them, and crypto.ts computes with
 * them; this file imports nothing, so that neither needs the other for the types.
 */

export type EcdsaCurve = 'nistp256' | 'nistp384' | 'nistp521'

/** A public key's numbers, big-endian. Only a FIDO key has an `application`; its signatures cover the hash of it. */
export type KeyMaterial =
  | { readonly kind: 'ed25519'; readonly point: Uint8Array; readonly application?: Uint8Array }
  | { readonly kind: 'rsa'; readonly modulus: Uint8Array; readonly exponent: Uint8Array }
  | {
      readonly kind: 'ecdsa'
      readonly curve: EcdsaCurve
      /** Uncompressed: 0x04, x, y. */
      readonly point: Uint8Array
      readonly application?: Uint8Array
    }

export type RsaMaterial = KeyMaterial & { readonly kind: 'rsa' }
