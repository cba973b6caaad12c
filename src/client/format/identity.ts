/**
 * The user's identity towards relays and contacts: an SSH key that signs, and the keys that decrypt messages to it.
 * Code that uses an identity does not know whether the key is in a file, in an agent or on a hardware token.
 */
import type { Identity as AgeIdentity } from 'age-encryption'
import { SshIdentity } from '../../auth/age-ssh.ts'
import type { SshKey, SshPrivateKey } from '../../auth/ssh-key.ts'
import { signMessage } from '../../auth/sshsig.ts'

/** A user's SSH key and the keys that decrypt messages to the user. */
export interface Identity {
  readonly key: SshKey
  /**
   * Signs a message.
   * @param namespace the SSHSIG namespace, which names the purpose of the signature
   * @returns the blob of an SSHSIG over `message` by {@link key}
   * @throws if the key cannot be reached, or its owner refuses to sign
   */
  sign(namespace: string, message: Uint8Array): Promise<Uint8Array>
  /** How the key logs in to a relay: by decrypting a challenge, or by signing it. */
  readonly proof: 'decrypt' | 'sign'
  /** Age identities that decrypt payloads: the key itself first if it can. Empty if the identity cannot receive. */
  readonly opens: readonly (AgeIdentity | string)[]
  /** The age recipient (`age1…`) that contacts must encrypt to instead of the key. */
  readonly recipient?: string
}

/** Signs for a key: an agent, a hardware token, or an {@link Identity} whose messages another key shall decrypt. */
export type Signer = Pick<Identity, 'key' | 'sign'>

/**
 * Returns the identity of a key that only signs, or whose private half only an agent holds.
 *
 * @param encryptionKey an age X25519 identity, `AGE-SECRET-KEY-1…`, as {@link generateEncryptionKey} makes it. Contacts
 *   encrypt to its recipient, which the SSH key certifies in the card. Without it the identity cannot receive.
 * @throws {TypeError} if `encryptionKey` is not an age X25519 identity
 */
export async function signingIdentity(signer: Signer, encryptionKey?: string): Promise<Identity> {
  const sign: Signer['sign'] = (namespace, message) => signer.sign(namespace, message)
  const identity = { key: signer.key, sign, proof: 'sign', opens: [] } as const
  if (encryptionKey === undefined) return Object.freeze(identity)
  return Object.freeze({ ...identity, opens: [encryptionKey], recipient: await recipientOf(encryptionKey) })
}

/** Makes an age X25519 identity for {@link signingIdentity}. It is a secret: store it as safely as a private key. */
export async function generateEncryptionKey(): Promise<string> {
  const { generateX25519Identity } = await import('age-encryption')
  return generateX25519Identity()
}

async function recipientOf(encryptionKey: string): Promise<string> {
  try {
    // age has other kinds of identities, but cards accept only this one.
    if (encryptionKey.startsWith('AGE-SECRET-KEY-1')) {
      const { identityToRecipient } = await import('age-encryption')
      return await identityToRecipient(encryptionKey)
    }
  } catch {
    // The error is dropped because its text could contain the key.
  }
  throw new TypeError('the encryption key is not an age X25519 identity (AGE-SECRET-KEY-1…)')
}

/** Returns the identity of a private key that this process holds. */
export function identityOf(privateKey: SshPrivateKey): Identity {
  const { public: key } = privateKey
  return Object.freeze({
    key,
    sign: async (namespace: string, message: Uint8Array) => signMessage(privateKey, namespace, message),
    proof: key.canDecrypt ? 'decrypt' : 'sign',
    opens: key.canDecrypt ? [new SshIdentity(privateKey)] : [],
  } satisfies Identity)
}
