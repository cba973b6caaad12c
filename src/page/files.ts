/** Files in a conversation: sent from a file of the browser, and received into memory. Nothing is opened or shown. */
import { makeFileName } from '../client/format/field.ts'
import type { FileSink, FileSource } from '../client/delivery/file.ts'

/** The largest file that the page takes, in bytes: it stays in memory until the user saves it. */
export const MOST_BYTES = 268_435_456

/** Every saved file has this type, so that no browser runs or renders it. */
const SAFE_TYPE = 'application/octet-stream'

export function sourceOf(file: File): FileSource {
  return {
    name: makeFileName(file.name),
    size: file.size,
    read: async (offset, length) => new Uint8Array(await file.slice(offset, offset + length).arrayBuffer()),
  }
}

/** A received file in memory. */
export class MemoryFile implements FileSink {
  readonly have = []
  readonly #parts: Uint8Array<ArrayBuffer>[] = []

  async write(part: number, bytes: Uint8Array): Promise<void> {
    this.#parts[part] = Uint8Array.from(bytes)
  }

  async read(part: number): Promise<Uint8Array> {
    return this.#parts[part]!
  }

  async finish(): Promise<void> {}

  async discard(): Promise<void> {
    this.#parts.length = 0
  }

  /** Returns the whole file. */
  blob(): Blob {
    return new Blob(this.#parts.slice(1), { type: SAFE_TYPE })
  }
}
