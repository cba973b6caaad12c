/**
 * A backup of an onion service: an age file (https://age-encryption.org/v1) of a tar archive of its folder, so that
 * `age -d` and `tar -x` open it, too. The archive is read as strictly as if a stranger had written it, and nothing
 * is given out before all of it was found sound. Touches no disk.
 */
import { armor, Decrypter, Encrypter, type Identity, type Recipient } from 'age-encryption'
import { CodedError } from '../protocol/coded-error.ts'
import { ArchiveError, decodeArchive, encodeArchive } from './archive.ts'
import { checkService, type ServiceFiles } from './service.ts'

export type BackupProblem =
  'no-age-file' | 'wants-passphrase' | 'wants-identity' | 'wrong-passphrase' | 'wrong-identity' | 'damaged' | 'no-archive'

const TEXTS = {
  'no-age-file': 'it is no age file',
  'wants-passphrase': 'it was encrypted with a passphrase',
  'wants-identity': 'it was encrypted to a key',
  'wrong-passphrase': 'the passphrase is wrong, or the beginning of the file is damaged',
  'wrong-identity': 'it was encrypted to another key, or the beginning of the file is damaged',
  damaged: 'it is damaged: a byte of it was changed, or its end is missing',
  'no-archive': 'what is in it is no archive of an onion service',
} as const satisfies Record<BackupProblem, string>

export class BackupError extends CodedError<BackupProblem> {
  constructor(code: BackupProblem) {
    super('BackupError', code, TEXTS[code])
  }
}

/** Whom a backup is encrypted to: age recipients (`age1…`, or an SSH key's), or a passphrase. */
export type Lock = { readonly recipients: readonly (string | Recipient)[] } | { readonly passphrase: string }
/** What opens it: age identities (`AGE-SECRET-KEY-1…`, or an SSH key's), or a passphrase. */
export type Opener = { readonly identities: readonly (string | Identity)[] } | { readonly passphrase: string }

const BEGIN = 'age-encryption.org/v1\n'
const ARMOR = '-----BEGIN AGE ENCRYPTED FILE-----'

/** @throws {ServiceError} if the files are no whole onion service */
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

/** What opens it; undefined for what is no age file. */
export function kindOfBackup(file: Uint8Array): 'passphrase' | 'identity' | undefined {
  const header = headerOf(file)
  if (header === undefined) return undefined
  return /^-> scrypt /m.test(header.toString('latin1')) ? 'passphrase' : 'identity'
}

/**
 * @returns the files, whole and sound; the caller overwrites them when they are no longer needed
 * @throws {BackupError}, or {ServiceError} where what was in it is no whole onion service
 */
export async function openBackup(file: Uint8Array, opener: Opener): Promise<ServiceFiles> {
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
    // The header is proven: what fails now is the rest. And scrypt is slow enough once.
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
    files = decodeArchive(archive)
  } catch (error) {
    if (!(error instanceof ArchiveError)) throw error
    throw new BackupError('no-archive')
  }
  checkService(files)
  return files
}

/** Whether age takes it for `age1…`. */
export function isRecipient(text: string): boolean {
  return holds(() => new Encrypter().addRecipient(text))
}

/** Whether age takes it for `AGE-SECRET-KEY-1…`. */
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

/** age's header with its MAC, up to and without the line break after it. */
function headerOf(file: Uint8Array): Buffer | undefined {
  const binary = unarmor(file)
  if (binary === undefined || Buffer.from(binary.subarray(0, BEGIN.length)).toString('latin1') !== BEGIN) return undefined
  const bytes = Buffer.from(binary.buffer, binary.byteOffset, binary.byteLength)
  const mac = bytes.indexOf('\n--- ')
  const end = mac === -1 ? -1 : bytes.indexOf('\n', mac + 1)
  return end === -1 ? undefined : bytes.subarray(0, end + 1)
}

/** `age -a` writes text; undefined where it is malformed. */
function unarmor(file: Uint8Array): Uint8Array | undefined {
  if (Buffer.from(file.subarray(0, ARMOR.length)).toString('latin1') !== ARMOR) return file
  try {
    return armor.decode(Buffer.from(file).toString('latin1'))
  } catch {
    return undefined
  }
}
