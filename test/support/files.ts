/** Files in memory that a messenger sends and receives. */
import { createHash } from 'node:crypto'
import type { FileInfo, FileSink, FileSource } from '../../src/client/delivery/file.ts'
import { countParts, PART_BYTES } from '../../src/client/format/content.ts'

export function sourceOf(name: string, bytes: Uint8Array): FileSource {
  return { name, size: bytes.length, read: async (offset, length) => bytes.slice(offset, offset + length) }
}

export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

export interface MemoryFile {
  readonly sink: FileSink
  readonly bytes: Uint8Array
  /** The parts in the order of their writes, repeated ones included. */
  readonly written: number[]
  outcome: 'open' | 'finished' | 'discarded'
}

/** @param have the parts that already exist, with their bytes in `bytes` */
export function memoryFile({ total }: Pick<FileInfo, 'total'>, have: FileSink['have'] = [], bytes = new Uint8Array(total)): MemoryFile {
  const file: MemoryFile = {
    bytes,
    written: [],
    outcome: 'open',
    sink: {
      have,
      async write(part, content) {
        file.written.push(part)
        bytes.set(content, (part - 1) * PART_BYTES)
      },
      async read(part) {
        return bytes.slice((part - 1) * PART_BYTES, part === countParts(total) ? total : part * PART_BYTES)
      },
      async finish() {
        file.outcome = 'finished'
      },
      async discard() {
        file.outcome = 'discarded'
      },
    },
  }
  return file
}
