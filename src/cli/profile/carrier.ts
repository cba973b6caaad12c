/**
 * A whole profile as one value, for another device: the files of its folder, without the folder `state`. The state
 * belongs to one device: two devices must not use the same outbox and the same keys for answers, and each has its own
 * tags of received messages.
 */
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeText, encodeText } from '../../client/format/field.ts'
import { readBytes } from '../disk/file.ts'
import { systemReason } from '../disk/system.ts'
import { CliError } from '../program/error.ts'

/** The form of the file; a number that grows with each change that older programs cannot read. */
export const PROFILE_TYPE = 'asfaleia-profile/1'
/** The largest file in a profile, and the largest profile. */
const FILE_BYTES = 4_194_304
const MOST_BYTES = 33_554_432
const MOST_FILES = 10_000

export type Files = ReadonlyMap<string, Uint8Array>

/** Reads the files of a profile. Skips links, sockets and hidden files. @throws {CliError} */
export async function collect(folder: string): Promise<Files> {
  const files = new Map<string, Uint8Array>()
  let sum = 0
  const visit = async (path: string, depth: number): Promise<void> => {
    for (const name of (await readdir(join(folder, path))).toSorted()) {
      const own = path === '' ? name : `${path}/${name}`
      const stat = await lstat(join(folder, own))
      if (stat.isDirectory() && depth === 0 && own !== 'state' && isPath(`${own}/x`)) await visit(own, 1)
      if (!stat.isFile() || !isPath(own)) continue
      const bytes = stat.size > FILE_BYTES ? undefined : await readBytes(join(folder, own), FILE_BYTES)
      sum += bytes?.length ?? 0
      if (bytes === undefined || sum > MOST_BYTES || files.size >= MOST_FILES)
        throw new CliError(`${join(folder, own)}: the profile is too large to export`, { hint: 'move files that do not belong there away' })
      files.set(own, bytes)
    }
  }
  try {
    await visit('', 0)
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`cannot read ${folder}: ${systemReason(error)}`)
  }
  return files
}

/** Encodes files as JSON. */
export function encodeFiles(files: Files): Uint8Array {
  const entries = [...files].map(([path, bytes]) => [path, Buffer.from(bytes).toString('base64')])
  return encodeText(JSON.stringify({ files: Object.fromEntries(entries) }))
}

/** Decodes the result of {@link encodeFiles}. @returns undefined if it is malformed, or no profile */
export function decodeFiles(bytes: Uint8Array): Files | undefined {
  let value: unknown
  try {
    value = JSON.parse(decodeText(bytes) ?? '')
  } catch {
    return undefined
  }
  const { files, ...more } = (value ?? {}) as { readonly files?: unknown }
  if (typeof files !== 'object' || files === null || Object.keys(more).length > 0) return undefined
  const entries = Object.entries(files as Readonly<Record<string, unknown>>)
  if (entries.length > MOST_FILES || !Object.hasOwn(files, 'profile')) return undefined
  const decoded = new Map<string, Uint8Array>()
  for (const [path, text] of entries) {
    if (!isPath(path) || typeof text !== 'string') return undefined
    const content = Buffer.from(text, 'base64')
    if (content.toString('base64') !== text || content.length > FILE_BYTES) return undefined
    decoded.set(path, content)
  }
  // A path must not be a file and a folder.
  return entries.some(([path]) => path.includes('/') && decoded.has(path.split('/')[0]!)) ? undefined : decoded
}

/** Whether it is the path of a file in a profile: at most one folder deep, not in `state`, nothing hidden. */
function isPath(path: string): boolean {
  const parts = path.split('/')
  return (
    parts.length <= 2 && parts[0] !== 'state' && parts.every((part) => /^[^.\0/\\][^\0/\\]*$/.test(part) && Buffer.byteLength(part) <= 255)
  )
}
