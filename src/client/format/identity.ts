/**
 * Who one is to a relay and to others: an SSH key that signs, and what opens what is encrypted to it. The key may
 * lie in a file, in an agent, or on a token; whoever uses an identity does not know which.
 */
import { generateX25519Identity, type Identity as AgeIdentity, identityToRecipient } from 'age-encryption'
import { SshIdentity } from '../../auth/age-ssh.ts'
import type { SshKey, SshPrivateKey } from '../../auth/ssh-key.ts'
import { signMessage } from '../../auth/sshsig.ts'

export interface Identity {
  readonly key: SshKey
  /**
   * @param namespace SSHSIG's: what the signature is for
   * @returns the blob of an SSHSIG over `message`, whose key is {@link key}
   * @throws where the key cannot be reached, or its owner does not let it sign
   */
  sign(namespace: string, message: Uint8Array): Promise<Uint8Array>
  /** Proves itself to a relay by decryption; by signature otherwise. */
  readonly proof: 'decrypt' | 'sign'
  /** What opens payloads, the key itself first where it can; none where nothing can be encrypted to this identity. */
  readonly opens: readonly (AgeIdentity | string)[]
  /** An age recipient (`age1…`), where others have to encrypt to it instead of the key. */
  readonly recipient?: string
}

/** What signs for a key: an agent, a token, or an {@link Identity} that is to receive by another key than its own. */
export type Signer = Pick<Identity, 'key' | 'sign'>

/**
 * The identity of a key that only signs, or whose private half only its agent has.
 *
 * @param encryptionKey an age X25519 identity, `AGE-SECRET-KEY-1…`, as {@link generateEncryptionKey} makes it. Others
 *   encrypt to its recipient, which the key certifies in the card; without one, nothing can be received.
 * @throws {TypeError} on an encryption key that is none
 */
export async function signingIdentity(signer: Signer, encryptionKey?: string): Promise<Identity> {
  const sign: Signer['sign'] = (namespace, message) => signer.sign(namespace, message)
  const identity = { key: signer.key, sign, proof: 'sign', opens: [] } as const
  if (encryptionKey === undefined) return Object.freeze(identity)
  return Object.freeze({ ...identity, opens: [encryptionKey], recipient: await recipientOf(encryptionKey) })
}

/** A new age X25519 identity for {@link signingIdentity}: a secret, for its owner to keep as their key. */
export function generateEncryptionKey(): Promise<string> {
  return generateX25519Identity()
}

async function recipientOf(encryptionKey: string): Promise<string> {
  try {
    // age has other kinds of identities, which a card does not.
    if (encryptionKey.startsWith('AGE-SECRET-KEY-1')) return await identityToRecipient(encryptionKey)
  } catch {
    // The error could hold the key.
  }
  throw new TypeError('that is no age X25519 identity')
}

/** The identity of a private key that this process holds. */
export function identityOf(privateKey: SshPrivateKey): Identity {
  const { public: key } = privateKey
  return Object.freeze({
    key,
    sign: async (namespace: string, message: Uint8Array) => signMessage(privateKey, namespace, message),
    proof: key.canDecrypt ? 'decrypt' : 'sign',
    opens: key.canDecrypt ? [new SshIdentity(privateKey)] : [],
  } satisfies Identity)
}
