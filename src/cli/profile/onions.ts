/**
 * Keys for onion services that only let some people in (client authorization, rend-spec-v3): kept in the profile, and
 * handed to tor by its control port before such a service is dialled. Tor keeps them in memory; what is not handed
 * over is a line for a file of tor's.
 */
import { chmod, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Address } from '../../config/value.ts'
import { decodeBase32 } from '../../onion/base32.ts'
import { authenticate, converse } from '../../tor/control.ts'
import { isOnion } from '../../transport/address.ts'
import { makeFolder, readText, writeWhole } from '../disk/file.ts'
import { systemCode, systemReason } from '../disk/system.ts'
import { CliError, UsageError } from '../program/error.ts'

/** `ADDRESS:descriptor:x25519:KEY`, as a file of tor's ClientOnionAuthDir and `asfaleia client add` have it. */
export interface OnionKey {
  /** `….onion` */
  readonly address: string
  /** In base32. */
  readonly key: string
}

const TIMEOUT_MS = 5_000
const MOST_BYTES = 4_096

/** @throws {UsageError} that holds nothing of it */
export function parseOnionKey(line: string): OnionKey {
  const [, name, key] = /^([a-z2-7]{56})(?:\.onion)?:descriptor:x25519:([A-Za-z2-7]{52})$/i.exec(line.trim()) ?? []
  if (name === undefined || key === undefined || decodeBase32(key) === undefined) {
    throw new UsageError('that is no key of an onion service', {
      hint: 'it is one line, ADDRESS:descriptor:x25519:KEY, as `asfaleia client add` of the operator printed it',
    })
  }
  const address = `${name.toLowerCase()}.onion`
  if (!isOnion(address)) throw new UsageError('the onion address in that line is mistyped: its checksum is wrong')
  return { address, key: key.toUpperCase() }
}

function formatOnionKey({ address, key }: OnionKey): string {
  return `${address.replace(/\.onion$/, '')}:descriptor:x25519:${key}`
}

export class Onions {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** @throws {CliError} that names the file */
  async read(address: string): Promise<OnionKey | undefined> {
    const path = this.path(address)
    const text = await readText(path, MOST_BYTES)
    if (text === undefined) return undefined
    try {
      const found = parseOnionKey(text)
      if (found.address === address) return found
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
    }
    throw new CliError(`${path}: it holds no key of that onion service`, {
      hint: 'it is left as it is; `asfaleia onion add` writes another',
    })
  }

  /** Addresses that there are keys for. @throws {CliError} */
  async list(): Promise<string[]> {
    try {
      return (await readdir(this.#folder)).filter((name) => isOnion(name)).toSorted()
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return []
      throw new CliError(`cannot read the folder ${this.#folder}: ${systemReason(error)}`)
    }
  }

  async add(key: OnionKey): Promise<void> {
    await makeFolder(this.#folder)
    await chmod(this.#folder, 0o700)
    await writeWhole(this.path(key.address), `${formatOnionKey(key)}\n`, { replace: true })
  }

  /** @throws {CliError} where there is none */
  async remove(address: string): Promise<void> {
    try {
      await rm(this.path(address))
    } catch (error) {
      throw new CliError(
        systemCode(error) === 'ENOENT' ? 'there is no key for that onion service' : `cannot remove it: ${systemReason(error)}`,
      )
    }
  }

  /** The file of its key: a line as tor has it. */
  path(address: string): string {
    return join(this.#folder, address)
  }
}

/**
 * ONION_CLIENT_AUTH_ADD of control-spec.txt, at the first control port that takes it.
 * @returns whether one did
 */
export async function handToTor({ address, key }: OnionKey, controls: readonly Address[]): Promise<boolean> {
  const blob = Buffer.from(decodeBase32(key) ?? []).toString('base64')
  return tellTor(`ONION_CLIENT_AUTH_ADD ${address.replace(/\.onion$/, '')} x25519:${blob}`, controls)
}

/** ONION_CLIENT_AUTH_REMOVE. @returns whether a tor took it */
export function takeFromTor(address: string, controls: readonly Address[]): Promise<boolean> {
  return tellTor(`ONION_CLIENT_AUTH_REMOVE ${address.replace(/\.onion$/, '')}`, controls)
}

async function tellTor(command: string, controls: readonly Address[]): Promise<boolean> {
  for (const control of controls) {
    const isDone = await converse(control, TIMEOUT_MS, async (ask) => (await authenticate(ask)) && (await ask(command)).ok)
    if (isDone === true) return true
  }
  return false
}
