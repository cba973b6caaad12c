/**
 * A backup of an onion service: an age file (https://age-encryption.org/v1) of a tar archive of its folder, so that
 * `age -d` and `tar -x` open it, too. Reading is as strict as if a stranger had written the archive, and returns files
 * only after all of them were checked. Touches no disk.
 */
import { armor, Decrypter, Encrypter, type Identity, type Recipient } from 'age-encryption'
import { CodedError } from '../protocol/coded-error.ts'
import { ArchiveError, decodeArchive, encodeArchive } from './archive.ts'
import { checkService, type ServiceFiles, splitClients } from './service.ts'

export type BackupProblem =
  'no-age-file' | 'wants-passphrase' | 'wants-identity' | 'wrong-passphrase' | 'wrong-identity' | 'damaged' | 'no-archive'

const TEXTS = {
  'no-age-file': 'it is not an age file',
  'wants-passphrase': 'it was encrypted with a passphrase',
  'wants-identity': 'it was encrypted to a key',
  'wrong-passphrase': 'the passphrase is wrong, or the beginning of the file is damaged',
  'wrong-identity': 'it was encrypted to another key, or the beginning of the file is damaged',
  damaged: 'it is damaged: a byte was changed, or the end is missing',
  'no-archive': 'its content is not an archive of an onion service',
} as const satisfies Record<BackupProblem, string>

export class BackupError extends CodedError<BackupProblem> {
  constructor(code: BackupProblem) {
    super('BackupError', code, TEXTS[code])
  }
}

/** Encrypts a backup: age recipients (`age1…`, or of an SSH key), or a passphrase. */
export type Lock = { readonly recipients: readonly (string | Recipient)[] } | { readonly passphrase: string }
/** Decrypts a backup: age identities (`AGE-SECRET-KEY-1…`, or of an SSH key), or a passphrase. */
export type Opener = { readonly identities: readonly (string | Identity)[] } | { readonly passphrase: string }

const BEGIN = 'age-encryption.org/v1\n'
const ARMOR = '-----BEGIN AGE ENCRYPTED FILE-----'

/** Archives and encrypts the files. @throws {ServiceError} if they are not a complete onion service */
export async function sealBackup(files: ServiceFiles, lock: Lock): Promise<Uint8Array> {
  checkService(files)
  const encrypter = new Encrypter()
  if ('passphrase' in lock) encrypter.setPassphrase(lock.passphrase)
  else for (const recipient of lock.recipients) encrypter.addRecipient(recipient)
  const archive = encodeArchive(files)
  try {
    return await encrypter.encrypt(archive)
  } finally {
    archive.fill(0)
  }
}

/** Returns the kind of opener that the backup needs; undefined if it is not an age file. */
export function kindOfBackup(file: Uint8Array): 'passphrase' | 'identity' | undefined {
  const header = headerOf(file)
  if (header === undefined) return undefined
  return /^-> scrypt /m.test(header.toString('latin1')) ? 'passphrase' : 'identity'
}

/**
 * Decrypts a backup and checks its files.
 * @param onSkipped receives the path of each file of a client that tor itself would skip; it is not among the files
 * @returns the files; the caller overwrites them after use
 * @throws {BackupError}, or {ServiceError} if they are not a complete onion service
 */
export async function openBackup(file: Uint8Array, opener: Opener, onSkipped: (path: string) => void = () => {}): Promise<ServiceFiles> {
  const binary = unarmor(file)
  const header = binary && headerOf(binary)
  if (binary === undefined || header === undefined) throw new BackupError('no-age-file')
  const byPassphrase = kindOfBackup(binary) === 'passphrase'
  if (byPassphrase !== 'passphrase' in opener) throw new BackupError(byPassphrase ? 'wants-passphrase' : 'wants-identity')
  const decrypter = new Decrypter()
  if ('passphrase' in opener) decrypter.addPassphrase(opener.passphrase)
  else for (const identity of opener.identities) decrypter.addIdentity(identity)
  let fileKey: Uint8Array
  try {
    fileKey = await decrypter.decryptHeader(header)
  } catch {
    throw new BackupError(byPassphrase ? 'wrong-passphrase' : 'wrong-identity')
  }
  let archive: Uint8Array
  try {
    // The header was right, so a failure now means a damaged body. The file key spares a second run of scrypt.
    const again = new Decrypter()
    again.addIdentity({ unwrapFileKey: () => fileKey })
    archive = await again.decrypt(binary)
  } catch {
    throw new BackupError('damaged')
  } finally {
    fileKey.fill(0)
  }
  let files: ServiceFiles
  try {
    const all = splitClients(decodeArchive(archive))
    files = all.files
    for (const path of all.skipped) onSkipped(path)
  } catch (error) {
    if (!(error instanceof ArchiveError)) throw error
    throw new BackupError('no-archive')
  }
  checkService(files)
  return files
}

/** Returns where the backup begins in bytes that hold a secret before it; -1 without a backup. */
export function findBackup(bytes: Buffer): number {
  const places = [bytes.indexOf(BEGIN), bytes.indexOf(ARMOR)].filter((at) => at !== -1)
  return places.length === 0 ? -1 : Math.min(...places)
}

/** Returns whether age accepts the text as a recipient, `age1…`. */
export function isRecipient(text: string): boolean {
  return holds(() => new Encrypter().addRecipient(text))
}

/** Returns whether age accepts the text as an identity, `AGE-SECRET-KEY-1…`. */
export function isIdentity(text: string): boolean {
  return holds(() => new Decrypter().addIdentity(text))
}

function holds(use: () => void): boolean {
  try {
    use()
    return true
  } catch {
    return false
  }
}

/** Returns age's header with its MAC, without the line break after it. */
function headerOf(file: Uint8Array): Buffer | undefined {
  const binary = unarmor(file)
  if (binary === undefined || Buffer.from(binary.subarray(0, BEGIN.length)).toString('latin1') !== BEGIN) return undefined
  const bytes = Buffer.from(binary.buffer, binary.byteOffset, binary.byteLength)
  const mac = bytes.indexOf('\n--- ')
  const end = mac === -1 ? -1 : bytes.indexOf('\n', mac + 1)
  return end === -1 ? undefined : bytes.subarray(0, end + 1)
}

/** Decodes the text that `age -a` writes. @returns undefined if it is malformed */
function unarmor(file: Uint8Array): Uint8Array | undefined {
  if (Buffer.from(file.subarray(0, ARMOR.length)).toString('latin1') !== ARMOR) return file
  try {
    return armor.decode(Buffer.from(file).toString('latin1'))
  } catch {
    return undefined
  }
}
