/** JSON lines over a unix socket. The length of a line and the unsent bytes are bounded. */
import type { Socket } from 'node:net'
import { pack, unpack } from './value.ts'

export const LINES = Object.freeze({
  /** Longest first line, in bytes. */
  hello: 65_536,
  /** Longest other line: a message of the largest payload, as JSON. */
  line: 8_388_608,
  /** Most bytes that the other side has not read yet. */
  unread: 16_777_216,
})

/** A record: one line. */
export interface Kinded {
  readonly kind: string
}

export class Lines<In extends Kinded, Out extends Kinded> {
  readonly #socket: Socket
  #pending: Buffer[] = []
  #length = 0
  #most: number = LINES.hello
  #closed = false
  /** Resolves once the connection has ended. */
  readonly closed: Promise<void>

  /** @param onRecord called for each line; if it throws, the connection ends */
  constructor(socket: Socket, onRecord: (record: In) => void) {
    this.#socket = socket
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#closed = true
        resolve()
      })
    })
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      try {
        this.#take(chunk, onRecord)
      } catch {
        socket.destroy()
      }
    })
    socket.on('end', () => socket.destroy())
  }

  /** Allows long lines from now on. */
  trust(): void {
    this.#most = LINES.line
  }

  /** @returns false if the record is too long for a line; nothing is sent then */
  send(record: Out): boolean {
    const line = `${JSON.stringify(pack(record))}\n`
    if (Buffer.byteLength(line) > LINES.line) return false
    if (this.#closed) return true
    this.#socket.write(line)
    if (this.#socket.writableLength > LINES.unread) this.#socket.destroy()
    return true
  }

  /** Ends the connection after all lines are sent. */
  end(): void {
    this.#socket.end()
    this.#socket.unref()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #take(chunk: Buffer, onRecord: (record: In) => void): void {
    let rest = chunk
    for (;;) {
      const end = rest.indexOf(0x0a)
      const part = end === -1 ? rest : rest.subarray(0, end)
      this.#length += part.length
      if (this.#length > this.#most) throw new TypeError('the line is too long')
      this.#pending.push(part)
      if (end === -1) return
      const text = new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(this.#pending))
      this.#pending = []
      this.#length = 0
      if (this.#socket.destroyed) return
      onRecord(parse(text) as In)
      rest = rest.subarray(end + 1)
    }
  }
}

function parse(text: string): Kinded {
  const record = unpack(JSON.parse(text)) as Partial<Kinded> | null
  if (typeof record !== 'object' || record === null || typeof record.kind !== 'string') throw new TypeError('the line is no record')
  return record as Kinded
}
