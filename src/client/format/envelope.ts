/**
 * Encryption of payloads: age files (https://age-encryption.org/v1) to the receiver's SSH key, as `age -R key.pub`
 * makes them. The `ssh-ed25519` or `ssh-rsa` stanza reveals to anyone with the ciphertext which key it is for. The
 * age file does not prove its author; only a signature inside the text does.
 */
import { Decrypter, Encrypter } from 'age-encryption'
import { SshRecipient } from '../../auth/age-ssh.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import type { Identity } from './identity.ts'

/**
 * Encrypts a text to an SSH key.
 * @returns an age file
 * @throws {TypeError} if the key can only sign, as ECDSA and FIDO keys do
 */
export async function seal(receiver: SshKey, text: Uint8Array): Promise<Uint8Array> {
  if (!receiver.canDecrypt) throw new TypeError('this key can only sign, so messages cannot be encrypted to it')
  let recipient = recipients.get(receiver)
  if (recipient === undefined) recipients.set(receiver, (recipient = new SshRecipient(receiver)))
  const encrypter = new Encrypter()
  encrypter.addRecipient(recipient)
  return encrypter.encrypt(text)
}

/** The age recipient of each key, for as long as the program holds the key. */
const recipients = new WeakMap<SshKey, SshRecipient>()

/**
 * Encrypts a text to the receiver's age recipient, or to the key if there is no recipient.
 * @throws {TypeError} if there is no recipient and the key can only sign
 */
export async function sealFor({ key, recipient }: Pick<Identity, 'key' | 'recipient'>, text: Uint8Array): Promise<Uint8Array> {
  if (recipient === undefined) return seal(key, text)
  const encrypter = new Encrypter()
  encrypter.addRecipient(recipient)
  return encrypter.encrypt(text)
}

/** Most recipients of an age file that `open` reads. Each untagged X25519 stanza costs a private-key operation. */
const MOST_RECIPIENTS = 32
const STANZA = 0x2d3e20 // `-> `
const MAC = 0x2d2d2d // `---`

/** Counts the stanzas of an age file's header, {@link MOST_RECIPIENTS} and one more at most. */
function countRecipients(file: Uint8Array): number {
  let count = 0
  for (let at = 0; at !== -1 && count <= MOST_RECIPIENTS;) {
    const start = ((file[at] ?? 0) << 16) | ((file[at + 1] ?? 0) << 8) | (file[at + 2] ?? 0)
    if (start === MAC) break
    if (start === STANZA) count++
    const end = file.indexOf(0x0a, at)
    at = end === -1 ? -1 : end + 1
  }
  return count
}

/** Decrypts a payload. @returns undefined if it is not an age file that this identity opens */
export async function open(identity: Pick<Identity, 'opens'>, payload: Uint8Array): Promise<Uint8Array | undefined> {
  if (countRecipients(payload) > MOST_RECIPIENTS) return undefined
  const decrypter = new Decrypter()
  for (const each of identity.opens) decrypter.addIdentity(each)
  try {
    return await decrypter.decrypt(payload)
  } catch {
    // Any sender can send any bytes, so a payload that does not open is not an error.
    return undefined
  }
}
