/**
 * A client for measuring: keeps a window of requests under way over one raw connection, and reads
 * answers by counting lines. No more than that, so that its own cost stays small beside the relay's.
 */
import { connect, type Socket } from 'node:net'
import { parsePrivateKey, generatePrivateKey, type SshPrivateKey } from '../src/auth/private-key.ts'
import { AUTH_NAMESPACE, signMessage } from '../src/auth/sshsig.ts'

const LF = 0x0a

export interface Identity {
  readonly key: SshPrivateKey
  /** `type base64`, as AUTH and SEND take it. */
  readonly text: string
}

export function createIdentity(): Identity {
  const { file, public: line } = generatePrivateKey('')
  return { key: parsePrivateKey(Buffer.from(file)), text: line.trim() }
}

export class Load {
  readonly socket: Socket
  #lines: string[] = []
  #partial = ''
  #waiting: (() => void) | undefined
  #count: ((lines: number) => void) | undefined

  private constructor(socket: Socket) {
    this.socket = socket
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => {
      if (this.#count !== undefined) {
        let lines = 0
        for (let at = chunk.indexOf(LF); at !== -1; at = chunk.indexOf(LF, at + 1)) lines++
        this.#count(lines)
        return
      }
      const lines = (this.#partial + chunk.toString('latin1')).split('\n')
      this.#partial = lines.pop()!
      this.#lines.push(...lines)
      this.#waiting?.()
    })
  }

  static open(port: number): Promise<Load> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve(new Load(socket)))
      socket.once('error', reject)
    })
  }

  /** Sends a packet and gives the line that answers it. */
  async ask(packet: string): Promise<string> {
    this.socket.write(`${packet}\n`)
    return this.line()
  }

  async line(): Promise<string> {
    while (this.#lines.length === 0) await new Promise<void>((resolve) => (this.#waiting = resolve))
    return this.#lines.shift()!
  }

  /** Logs in by signature and gives the token. */
  async login({ key, text }: Identity): Promise<string> {
    const [, handle, challenge] = (await this.ask(`0;${text};sign`)).split(';')
    const signature = signMessage(key, AUTH_NAMESPACE, Buffer.from(challenge!, 'base64'))
    const answer = await this.ask(`2;${handle};${Buffer.from(signature).toString('base64')}`)
    if (!answer.startsWith('12;')) throw new Error(answer.slice(0, 40))
    return answer.split(';')[1]!
  }

  /** Sends `total` packets with `window` of them unanswered at most; `perPacket` lines answer each. */
  run(packet: Buffer, total: number, window: number, perPacket = 1): Promise<void> {
    return new Promise((resolve) => {
      let sent = 0
      let lines = 0
      const fill = (): void => {
        const more = Math.min(total - sent, Math.floor(lines / perPacket) + window - sent)
        if (more <= 0) return
        sent += more
        this.socket.write(more === 1 ? packet : Buffer.concat(Array<Buffer>(more).fill(packet)))
      }
      this.#count = (count) => {
        lines += count
        if (lines >= total * perPacket) {
          this.#count = undefined
          resolve()
        } else {
          fill()
        }
      }
      fill()
    })
  }

  close(): void {
    this.socket.destroy()
  }
}
