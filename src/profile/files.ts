/**
 * A whole profile as one value, for another device or for a page: the files of its folder, without the folder `state`.
 * The state belongs to one device: two devices must not use the same outbox and the same keys for answers, and each has
 * its own tags of received messages. Pure; runs in a page too.
 */
import { decodeText, encodeText } from '../client/format/field.ts'
import { decodeBase64, encodeBase64 } from '../protocol/base64.ts'

/** The form of the file; a number that grows with each change that older programs cannot read. */
export const PROFILE_TYPE = 'asfaleia-profile/1'
export const PROFILE = Object.freeze({
  /** The largest file in a profile, and the largest profile, in bytes; and the most files. */
  fileBytes: 4_194_304,
  bytes: 33_554_432,
  files: 10_000,
})

export type Files = ReadonlyMap<string, Uint8Array>

/** Encodes files as JSON. */
export function encodeFiles(files: Files): Uint8Array {
  const entries = [...files].map(([path, bytes]) => [path, encodeBase64(bytes)])
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
  if (entries.length > PROFILE.files || !Object.hasOwn(files, 'profile')) return undefined
  const decoded = new Map<string, Uint8Array>()
  for (const [path, text] of entries) {
    if (!isPath(path) || typeof text !== 'string') return undefined
    const content = text === '' ? new Uint8Array(0) : decodeBase64(encodeText(text))
    if (content === undefined || content.length > PROFILE.fileBytes) return undefined
    decoded.set(path, content)
  }
  // A path must not be a file and a folder.
  return entries.some(([path]) => path.includes('/') && decoded.has(path.split('/')[0]!)) ? undefined : decoded
}

/** Whether it is the path of a file in a profile: at most one folder deep, not in `state`, nothing hidden. */
export function isPath(path: string): boolean {
  const parts = path.split('/')
  return (
    parts.length <= 2 && parts[0] !== 'state' && parts.every((part) => /^[^.\0/\\][^\0/\\]*$/.test(part) && encodeText(part).length <= 255)
  )
}
