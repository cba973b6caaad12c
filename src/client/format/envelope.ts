/**
 * What a message's payload is: an age file (https://age-encryption.org/v1) to the receiver's SSH key, as
 * `age -R key.pub` makes it. Who holds the ciphertext learns the key it is for from age's
 * `ssh-ed25519`/`ssh-rsa` stanza, and who wrote it is not proven unless the text inside proves it.
 */
import { Decrypter, Encrypter } from 'age-encryption'
import { SshRecipient } from '../../auth/age-ssh.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import type { Identity } from './identity.ts'

/** @throws {TypeError} for a key that cannot decrypt (ECDSA and FIDO keys sign only). */
export async function seal(receiver: SshKey, text: Uint8Array): Promise<Uint8Array> {
  if (!receiver.canDecrypt) throw new TypeError('that key can sign, but not decrypt')
  let recipient = recipients.get(receiver)
  if (recipient === undefined) recipients.set(receiver, (recipient = new SshRecipient(receiver)))
  const encrypter = new Encrypter()
  encrypter.addRecipient(recipient)
  return encrypter.encrypt(text)
}

/** What a key is to age, as long as somebody has the key. */
const recipients = new WeakMap<SshKey, SshRecipient>()

/**
 * Encrypts to somebody's recipient, where there is one, else to the key; to oneself, too.
 * @throws {TypeError} where there is nothing to encrypt to
 */
export async function sealFor({ key, recipient }: Pick<Identity, 'key' | 'recipient'>, text: Uint8Array): Promise<Uint8Array> {
  if (recipient === undefined) return seal(key, text)
  const encrypter = new Encrypter()
  encrypter.addRecipient(recipient)
  return encrypter.encrypt(text)
}

/** The text of a payload; undefined if it is no age file that this identity opens, whatever else it may be. */
export async function open(identity: Pick<Identity, 'opens'>, payload: Uint8Array): Promise<Uint8Array | undefined> {
  const decrypter = new Decrypter()
  for (const each of identity.opens) decrypter.addIdentity(each)
  try {
    return await decrypter.decrypt(payload)
  } catch {
    // Anybody can send anything: why it does not open is nobody's error.
    return undefined
  }
}
