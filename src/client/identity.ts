/**
 * Who one is to a relay and to others: an SSH key that signs, and what opens what is encrypted to it. The key may
 * lie in a file, in an agent, or on a token; whoever uses an identity does not know which.
 */
import type { Identity as AgeIdentity } from 'age-encryption'
import { SshIdentity } from '../auth/age-ssh.ts'
import type { SshKey, SshPrivateKey } from '../auth/ssh-key.ts'
import { signMessage } from '../auth/sshsig.ts'

export interface Identity {
  readonly key: SshKey
  /**
   * @param namespace SSHSIG's: what the signature is for
   * @returns the blob of an SSHSIG over `message`, whose key is {@link key} or a certificate of it
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
