/** The secret that both relays prove at a handover, and the folder of their socket. */
import { lstatSync, readFileSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { ConfigError, type Problem } from '../config/problem.ts'
import { PSK_BYTES } from '../handover/noise.ts'

/** A longer file is not a secret, whatever blanks it ends in. */
const MOST_BYTES = 128
const FOR_OTHERS = 0o077
/** If root owns the file, the relay's group may read it: otherwise the relay could not. */
const FOR_STRANGERS = 0o037

interface Owned {
  readonly uid: number
  readonly mode: number
}

/**
 * Reads the secret. Refuses a file that other users may read or have written, as ssh refuses such a private key.
 * @param path a file of 32 bytes in base64; without one the secret is zeros, and only the permissions of the socket's
 * folder decide which programs may take over
 * @throws ConfigError
 */
export function readHandoverSecret(path: string | undefined): Uint8Array {
  if (path === undefined) return Buffer.alloc(PSK_BYTES)
  const { stats, text } = read(path)
  const problem = checkOwner(stats, path)
  if (problem !== undefined) throw new ConfigError([{ key: 'handover-secret', ...problem }])
  const secret = Buffer.from(text, 'base64')
  if (secret.length === PSK_BYTES && secret.toString('base64') === text) return secret
  throw new ConfigError([
    { key: 'handover-secret', problem: 'the file does not hold 32 bytes in base64', hint: 'make it: head -c 32 /dev/urandom | base64' },
  ])
}

function read(path: string): { stats: Owned; text: string } {
  try {
    const stats = statSync(path)
    // A FIFO would be waited for, and a device has no end.
    return { stats, text: stats.isFile() && stats.size <= MOST_BYTES ? readFileSync(path, 'latin1').trim() : '' }
  } catch {
    throw new ConfigError([
      { key: 'handover-secret', problem: 'the file cannot be read', hint: 'check that it exists and that this user may read it' },
    ])
  }
}

/** @returns undefined if only this user, or root, can have written the file, and no other user may read it */
export function checkOwner(
  { uid, mode }: Owned,
  path: string,
  self: number = process.geteuid?.() ?? uid,
): Omit<Problem, 'key'> | undefined {
  const file = quote(path)
  if (uid !== self && uid !== 0)
    return { problem: 'another user owns the file', hint: `run: sudo chown ${self} ${file}; chmod 600 ${file}` }
  if ((mode & (uid === self ? FOR_OTHERS : FOR_STRANGERS)) === 0) return undefined
  const octal = (mode & 0o777).toString(8).padStart(4, '0')
  const change = uid === self ? `chmod 600 ${file}` : `sudo chmod 640 ${file}`
  return { problem: `other users may read or change the file (mode ${octal})`, hint: `run: ${change}` }
}

/** Quotes a word for a POSIX shell, if it needs quotes. */
function quote(word: string): string {
  return /^[\w@%+=:,./][\w@%+=:,./-]*$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/**
 * Checks the folder of the handover socket: any user who may write to it could put another socket there.
 * @throws ConfigError
 */
export function checkHandoverFolder(socketPath: string): void {
  const folder = lstatSync(dirname(socketPath), { throwIfNoEntry: false })
  if (folder?.isDirectory() !== true) {
    throw new ConfigError([{ key: 'handover', problem: 'its folder does not exist', hint: 'make the folder first' }])
  }
  const isTrusted = folder.uid === process.geteuid?.() || folder.uid === 0
  if (isTrusted && (folder.mode & 0o022) === 0) return
  throw new ConfigError([
    { key: 'handover', problem: 'other users may write to its folder', hint: 'use a folder of the relay’s user, mode 0700' },
  ])
}
