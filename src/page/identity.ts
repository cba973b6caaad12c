/** The user's identity in a page: WebCrypto signs, because JavaScript needs up to 54 ms for it in Tor Browser. */
import type { SeedKey } from '../auth/seed.ts'
import { encodeEd25519Signature, encodeSigned } from '../auth/sshsig.ts'
import { type Identity, identityOf } from '../client/format/identity.ts'

const ALGORITHM = { name: 'Ed25519' }

/** Returns the identity of a key. Without WebCrypto's Ed25519, the key signs in JavaScript. */
export async function pageIdentity(key: SeedKey): Promise<Identity> {
  const identity = identityOf(key)
  const secret = key.toPkcs8()
  try {
    const signing = await crypto.subtle.importKey('pkcs8', secret, ALGORITHM, false, ['sign'])
    return Object.freeze({
      ...identity,
      sign: async (namespace: string, message: Uint8Array) => {
        const signed = Uint8Array.from(encodeSigned(namespace, 'sha512', message))
        return encodeEd25519Signature(key.public, namespace, new Uint8Array(await crypto.subtle.sign(ALGORITHM, signing, signed)))
      },
    })
  } catch (error) {
    if ((error as { name?: unknown }).name !== 'NotSupportedError') throw error
    return identity
  } finally {
    secret.fill(0)
  }
}
