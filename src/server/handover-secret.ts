/** The secret that both relays prove at a handover, and the folder of the socket where they meet. */
import { lstatSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { ConfigError } from '../config/problem.ts'
import { PSK_BYTES } from '../handover/noise.ts'

/**
 * Reads the secret.
 * @param path a file of 32 bytes in base64; without one the secret is zeros, and only the permissions of the socket's
 * folder decide who may take over
 * @throws ConfigError
 */
export function readHandoverSecret(path: string | undefined): Uint8Array {
  if (path === undefined) return Buffer.alloc(PSK_BYTES)
  let text: string
  try {
    text = readFileSync(path, 'latin1').trim()
  } catch {
    throw new ConfigError([
      { key: 'handover-secret', problem: 'the file cannot be read', hint: 'check that it is there and may be read by this user' },
    ])
  }
  const secret = Buffer.from(text, 'base64')
  if (secret.length === PSK_BYTES && secret.toString('base64') === text) return secret
  throw new ConfigError([
    { key: 'handover-secret', problem: 'the file does not hold 32 bytes in base64', hint: 'make it: head -c 32 /dev/urandom | base64' },
  ])
}

/**
 * Checks the folder of the handover socket: any user who may write to it could put another socket there.
 * @throws ConfigError
 */
export function checkHandoverFolder(socketPath: string): void {
  const folder = lstatSync(dirname(socketPath), { throwIfNoEntry: false })
  if (folder?.isDirectory() !== true) {
    throw new ConfigError([{ key: 'handover', problem: 'its folder is not there', hint: 'make the folder first' }])
  }
  const isTrusted = folder.uid === process.geteuid?.() || folder.uid === 0
  if (isTrusted && (folder.mode & 0o022) === 0) return
  throw new ConfigError([
    { key: 'handover', problem: 'others may write to its folder', hint: 'give it a folder of the relay’s user, mode 0700' },
  ])
}
