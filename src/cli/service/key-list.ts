/** The operator's list of admitted keys as a text that keeps its comments, its order and its line breaks. Pure. */
import { type KeyLine, type Line, parseKeyLine, splitLines } from '../../auth/key-line.ts'
import { formatFingerprint, parsePublicKey } from '../../auth/ssh-key.ts'
import { type Entry, parseAdmitted } from '../../server/admitted.ts'
import type { Mistake } from '../../server/mistake.ts'

/** A line with a key. */
export interface Row {
  readonly line: Line
  /** The comment after the key. */
  readonly name: string
  readonly type: string
  readonly fingerprint: string
  /** Undefined if the line is a mistake. */
  readonly entry: Entry | undefined
}

export interface KeyList {
  readonly rows: readonly Row[]
  readonly mistakes: readonly Mistake[]
}

const text = new TextDecoder()

export function readKeyList(bytes: Uint8Array): KeyList {
  const { entries, mistakes } = parseAdmitted(bytes)
  const wrong = new Set(mistakes.map(({ line }) => line))
  const byKey = new Map(entries.map((entry) => [formatFingerprint(entry.fingerprint), entry]))
  const rows = [...splitLines(bytes)].flatMap((line): Row[] => {
    const fields = parseKeyLine(line.text)
    const key = typeof fields === 'string' ? undefined : identify(fields)
    if (typeof fields === 'string' || key === undefined) return []
    const entry = wrong.has(line.number) ? undefined : byKey.get(key.fingerprint)
    return [{ line, name: text.decode(fields.comment), ...key, entry }]
  })
  return { rows, mistakes }
}

function identify({ key }: KeyLine): { readonly type: string; readonly fingerprint: string } | undefined {
  try {
    const { type, fingerprint } = parsePublicKey(key, 'form')
    return { type, fingerprint: formatFingerprint(fingerprint) }
  } catch {
    return undefined
  }
}

/** Appends a line, with the line break of the last one. */
export function appendLine(bytes: Uint8Array, line: string): Uint8Array {
  const all = Buffer.from(bytes)
  const isOpen = all.length > 0 && all.at(-1) !== 0x0a
  const at = isOpen ? all.lastIndexOf(0x0a) : all.length - 1
  const lineBreak = all[at - 1] === 0x0d ? '\r\n' : '\n'
  return Buffer.concat([all, Buffer.from(`${isOpen ? lineBreak : ''}${line}${lineBreak}`)])
}

export function removeRows(bytes: Uint8Array, rows: readonly Row[]): Uint8Array {
  const gone = new Set(rows.map(({ line }) => line.number))
  return Buffer.concat([...splitLines(bytes)].filter(({ number }) => !gone.has(number)).map(({ start, end }) => bytes.subarray(start, end)))
}
