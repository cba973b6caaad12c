/** The files that a device sends and receives, in memory. They outlive its client. */
import type { FileSink, FileSource } from '../../src/client/delivery/file.ts'
import { PART_BYTES, type PartRange } from '../../src/client/format/content.ts'
import type { FileOffer, FileReceiver } from '../../src/client/messenger/transfers.ts'
import { hashOf } from './random.ts'
import type { Person } from './person.ts'

/** Returns a file whose bytes follow from its name. */
export function sourceOf(name: string, size: number): FileSource {
  const salt = hashOf(name)
  return {
    name: `${salt.toString(16)}.bin`,
    size,
    read: async (offset, length) => Uint8Array.from({ length }, (_, at) => Math.imul(offset + at + 1, salt | 1) >>> 24),
  }
}

interface Stored {
  readonly parts: Map<number, Uint8Array>
  isDone: boolean
}

export class FileBox implements FileReceiver {
  readonly #person: Person
  readonly #files = new Map<string, Stored>()

  constructor(person: Person) {
    this.#person = person
  }

  has({ name, total }: Pick<FileOffer, 'name' | 'total'>): boolean {
    return this.#files.get(`${name} ${total}`)?.isDone === true
  }

  async open(offer: FileOffer): Promise<FileSink | 'done' | undefined> {
    const name = `${offer.name} ${offer.total}`
    await this.#turn()
    let stored = this.#files.get(name)
    if (stored?.isDone === true) return 'done'
    if (stored === undefined) this.#files.set(name, (stored = { parts: new Map(), isDone: false }))
    const { parts } = stored
    const file = stored
    const have: PartRange[] = [...parts.keys()].toSorted((one, other) => one - other).map((part) => [part, part])
    return {
      have,
      write: async (part, bytes) => {
        await this.#turn()
        if (bytes.length > PART_BYTES) throw new Error('a part is too long')
        parts.set(part, Uint8Array.from(bytes))
      },
      read: async (part) => {
        await this.#turn()
        return parts.get(part)!
      },
      finish: async () => {
        await this.#turn()
        file.isDone = true
      },
      discard: async () => {
        this.#files.delete(name)
      },
    }
  }

  /** As slow as the disk, and as broken. */
  async #turn(): Promise<void> {
    await this.#person.disk.turn()
    if (this.#person.disk.fault !== undefined) throw new Error('the disk does not take it')
  }
}
