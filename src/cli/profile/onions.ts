/**
 * Client authorization keys of onion services (rend-spec-v3). The profile stores them, and the client hands each to tor
 * through its control port before it connects to the service. Tor keeps them in memory only. Users without a control
 * port copy the stored file to tor's ClientOnionAuthDir.
 */
import { chmod, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { Address } from '../../transport/address.ts'
import { base32nopad } from '@scure/base'
import { authenticate, converse } from '../../tor/control.ts'
import { isOnion } from '../../onion/address.ts'
import { makeFolder, readText, writeWhole } from '../disk/file.ts'
import { systemCode, systemReason } from '../disk/system.ts'
import { CliError, UsageError } from '../program/error.ts'

/** A line `ADDRESS:descriptor:x25519:KEY`, as in tor's ClientOnionAuthDir and from `asfaleia invite --out`. */
export interface OnionKey {
  /** `….onion` */
  readonly address: string
  /** The private key, in base32. */
  readonly key: string
}

const TIMEOUT_MS = 5_000
const MOST_BYTES = 4_096

/** @throws {UsageError} that does not repeat any part of the key */
export function parseOnionKey(line: string): OnionKey {
  const [, name, key] = /^([a-z2-7]{56})(?:\.onion)?:descriptor:x25519:([A-Za-z2-7]{52})$/i.exec(line.trim()) ?? []
  if (name === undefined || key === undefined || decodeKey(key) === undefined) {
    throw new UsageError('this is not a client key of an onion service', {
      hint: 'expected one line, ADDRESS:descriptor:x25519:KEY; the link of an invite is for `asfaleia join`',
    })
  }
  const address = `${name.toLowerCase()}.onion`
  if (!isOnion(address)) throw new UsageError(`the onion address ${address} is mistyped: its checksum is wrong`)
  return { address, key: key.toUpperCase() }
}

export function formatOnionKey({ address, key }: OnionKey): string {
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
    throw new CliError(`${path}: it does not hold a client key of ${address}`, {
      hint: 'the file was left untouched; replace it with `asfaleia join --replace`',
    })
  }

  /** Lists the addresses that have a stored key. @throws {CliError} */
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

  /** @throws {CliError} if there is no such key, or it cannot be removed */
  async remove(address: string): Promise<void> {
    try {
      await rm(this.path(address))
    } catch (error) {
      throw new CliError(
        systemCode(error) === 'ENOENT'
          ? `there is no key for the onion service ${address}`
          : `cannot remove ${this.path(address)}: ${systemReason(error)}`,
        { hint: '`asfaleia onion list` shows the services that you have keys for' },
      )
    }
  }

  /** The file of the key: one line, in tor's format. */
  path(address: string): string {
    return join(this.#folder, address)
  }
}

/**
 * Sends ONION_CLIENT_AUTH_ADD (control-spec.txt) to each control port until one accepts it.
 * @returns whether one did
 */
export async function handToTor({ address, key }: OnionKey, controls: readonly Address[]): Promise<boolean> {
  const blob = Buffer.from(decodeKey(key) ?? []).toString('base64')
  return tellTor(`ONION_CLIENT_AUTH_ADD ${address.replace(/\.onion$/, '')} x25519:${blob}`, controls)
}

/**
 * Decodes the 32 bytes of a key; base32 in either case.
 * @returns undefined if unused bits of the last letter are set
 */
function decodeKey(key: string): Uint8Array | undefined {
  try {
    return base32nopad.decode(key.toUpperCase())
  } catch {
    return undefined
  }
}

/** Sends ONION_CLIENT_AUTH_REMOVE. @returns whether a tor accepted it */
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
