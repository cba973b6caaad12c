/**
 * A tar archive (POSIX.1-1988 `ustar`), so that a backup opens without asfaleia, too. Writes and reads plain files with
 * short names and nothing else: no links, no owners, no long names.
 */

const BLOCK = 512
/** The largest archive: keys, and some thousand clients. */
const MOST_BYTES = 8 * 1_024 * 1_024
const NAME_BYTES = 100
const FILE = '0'
const FOLDER = '5'

/** The bytes are not an archive, or contain an entry that `encodeArchive` would not write. */
export class ArchiveError extends Error {
  constructor() {
    super('not an archive of plain files')
    this.name = 'ArchiveError'
  }
}

/** Archives files and their folders. @param files by path, at most 100 bytes of UTF-8 without control characters */
export function encodeArchive(files: ReadonlyMap<string, Uint8Array>): Buffer {
  const blocks: Buffer[] = []
  const folders = new Set<string>()
  for (const [path, bytes] of files) {
    const folder = path.slice(0, path.lastIndexOf('/') + 1)
    if (folder !== '' && !folders.has(folder)) blocks.push(encodeHeader(folder, 0, FOLDER))
    folders.add(folder)
    blocks.push(encodeHeader(path, bytes.length, FILE), Buffer.from(bytes), Buffer.alloc(padding(bytes.length)))
  }
  blocks.push(Buffer.alloc(2 * BLOCK))
  const archive = Buffer.concat(blocks)
  for (const block of blocks) block.fill(0)
  return archive
}

/** Reads an archive. @returns the files by path, as views of the archive. @throws {ArchiveError} */
export function decodeArchive(archive: Uint8Array): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>()
  if (archive.length > MOST_BYTES) throw new ArchiveError()
  let at = 0
  for (;;) {
    // The padding of the last entry may be cut off, so `at` can be behind the end.
    if (archive.length - at < BLOCK) throw new ArchiveError()
    const head = Buffer.from(archive.buffer, archive.byteOffset + at, BLOCK)
    if (head.every((byte) => byte === 0)) return files
    const { path, size, type } = decodeHeader(head)
    at += BLOCK
    if (at + size > archive.length) throw new ArchiveError()
    if (type === FILE) {
      if (files.has(path)) throw new ArchiveError()
      files.set(path, archive.subarray(at, at + size))
    }
    at += size + padding(size)
  }
}

/** Without control characters; spaces and letters of every script are allowed. */
const NAME = /^\P{Cc}+$/u

function decodeName(field: Buffer): string | undefined {
  const end = field.indexOf(0)
  const bytes = end === -1 ? field : field.subarray(0, end)
  const name = bytes.toString('utf8')
  const sound = NAME.test(name) && Buffer.from(name).equals(bytes) && field.subarray(bytes.length).every((byte) => byte === 0)
  return sound ? name : undefined
}

function encodeHeader(path: string, size: number, type: string): Buffer {
  if (!NAME.test(path) || Buffer.byteLength(path) > NAME_BYTES) throw new TypeError('the names in an archive are short')
  const head = Buffer.alloc(BLOCK)
  head.write(path, 0, 'utf8')
  head.write(type === FOLDER ? '0000700' : '0000600', 100)
  // No owner, so the user who extracts the archive owns the files; and no time.
  for (const at of [108, 116]) head.write('0000000', at)
  head.write(octal(size, 11), 124)
  head.write(octal(0, 11), 136)
  head.write(type, 156)
  head.write('ustar\x0000', 257)
  head.write(`${octal(checksum(head), 6)}\0 `, 148)
  return head
}

function decodeHeader(head: Buffer): { path: string; size: number; type: string } {
  const path = decodeName(head.subarray(0, NAME_BYTES))
  const size = readOctal(head, 124, 12)
  const type = head[156] === 0 ? FILE : head.toString('latin1', 156, 157)
  const sound = head.toString('latin1', 257, 262) === 'ustar' && readOctal(head, 148, 8) === checksum(head)
  const plain = (type === FILE || (type === FOLDER && size === 0)) && head.subarray(345, 500).every((byte) => byte === 0)
  if (!sound || !plain || path === undefined || size === undefined) throw new ArchiveError()
  return { path: path.replace(/^\.\//, ''), size, type }
}

/** Sums the header's bytes, with spaces in place of the checksum's own field. */
function checksum(head: Buffer): number {
  let sum = 0
  for (const [at, byte] of head.entries()) sum += at >= 148 && at < 156 ? 0x20 : byte
  return sum
}

function octal(value: number, digits: number): string {
  return value.toString(8).padStart(digits, '0')
}

function readOctal(head: Buffer, at: number, length: number): number | undefined {
  const digits = /^ *([0-7]{1,11})[\0 ]*$/.exec(head.toString('latin1', at, at + length))?.[1]
  return digits === undefined ? undefined : Number.parseInt(digits, 8)
}

function padding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK
}
