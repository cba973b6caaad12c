/**
 * Encryption of payloads: age files (https://age-encryption.org/v1) to the receiver's SSH key, as `age -R key.pub`
 * makes them. The `ssh-ed25519` or `ssh-rsa` stanza reveals to anyone with the ciphertext which key it is for. The
 * age file does not prove its author; only a signature inside the text does.
 */
import type * as Age from 'age-encryption'
import { CHUNK_BYTES } from '../../auth/age-chunk.ts'
import { HybridIdentity, type HybridKey, hybridKey, HybridRecipient, isHybridSecret, parseHybridSecret } from '../../auth/age-hybrid.ts'
import { encryptToKey, SshRecipient } from '../../auth/age-ssh.ts'
import type { SshKey } from '../../auth/ssh-key.ts'
import type { Identity } from './identity.ts'

/**
 * Encrypts a text to an SSH key.
 * @returns an age file
 * @throws {TypeError} if the key can only sign, as ECDSA and FIDO keys do
 */
export async function seal(receiver: SshKey, text: Uint8Array): Promise<Uint8Array> {
  if (!receiver.canDecrypt) throw new TypeError('this key can only sign, so messages cannot be encrypted to it')
  if (text.length <= CHUNK_BYTES) return encryptToKey(text, receiver)
  return encrypt(new SshRecipient(receiver), text)
}

async function encrypt(recipient: Age.Recipient | string, text: Uint8Array): Promise<Uint8Array> {
  const { Encrypter } = await loadAge()
  const encrypter = new Encrypter()
  encrypter.addRecipient(recipient)
  return encrypter.encrypt(text)
}

let age: Promise<typeof Age> | undefined

/**
 * Loads age-encryption when it is first needed: it takes longer to load than all of a command that sends a message. It
 * is asked for once: Node resolves the name again at each import, which takes longer than an encryption.
 */
function loadAge(): Promise<typeof Age> {
  age ??= import('age-encryption')
  return age
}

/**
 * Encrypts a text to the receiver's age recipient (`age1…` or `age1pq1…`), or to the key if there is no recipient.
 * @throws {TypeError} if there is no recipient and the key can only sign
 */
export async function sealFor({ key, recipient }: Pick<Identity, 'key' | 'recipient'>, text: Uint8Array): Promise<Uint8Array> {
  return recipient === undefined ? seal(key, text) : sealTo(recipient, text)
}

/**
 * Encrypts a text to an age recipient, `age1…` or `age1pq1…`.
 * @throws {Error} if it is malformed
 */
export async function sealTo(recipient: string, text: Uint8Array): Promise<Uint8Array> {
  const hybrid = recipient.startsWith('age1pq1') ? new HybridRecipient(recipient) : undefined
  if (hybrid !== undefined && text.length <= CHUNK_BYTES) return hybrid.encrypt(text)
  return encrypt(hybrid ?? recipient, text)
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
  const opens = identity.opens.map((each) => (isHybridSecret(each) ? new HybridIdentity([hybridKey(parseHybridSecret(each))]) : each))
  return decrypt(opens, payload)
}

/**
 * Decrypts a payload with the first of several post-quantum keys that can. Each of them costs up to three private-key
 * operations, 0.2 ms each in Node, so the caller bounds their number.
 * @returns undefined if it is not an age file that one of the keys opens
 */
export async function openWith<Key extends HybridKey>(
  keys: readonly Key[],
  payload: Uint8Array,
): Promise<{ readonly text: Uint8Array; readonly key: Key } | undefined> {
  const identity = new HybridIdentity(keys)
  const text = await decrypt([identity], payload)
  return text === undefined ? undefined : { text, key: keys[identity.opened!]! }
}

async function decrypt(opens: Identity['opens'], payload: Uint8Array): Promise<Uint8Array | undefined> {
  if (countRecipients(payload) > MOST_RECIPIENTS) return undefined
  const { Decrypter } = await loadAge()
  const decrypter = new Decrypter()
  for (const each of opens) decrypter.addIdentity(each)
  try {
    return await decrypter.decrypt(payload)
  } catch {
    // Any sender can send any bytes, so a payload that does not open is not an error.
    return undefined
  }
}
