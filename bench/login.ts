/**
 * Logins for measurements: as a process it logs in or claims as often as it can, and for other measurements it
 * provides tokens. Usage as a process: login.ts PROOF|claim PORT SECONDS. It prints `ready`, begins after a line on standard
 * input, and prints one line of JSON.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { type BenchKey, createKey, type Proof } from './key.ts'

/** A connection that sends requests and reads answers line by line. */
export class Wire {
  readonly #socket: Socket
  readonly #lines: string[] = []
  #partial = ''
  #waiting: PromiseWithResolvers<void> | undefined

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.setEncoding('latin1')
    socket.on('data', (text: string) => {
      const lines = (this.#partial + text).split('\n')
      this.#partial = lines.pop()!
      this.#lines.push(...lines)
      this.#waiting?.resolve()
    })
    socket.on('close', () => this.#waiting?.reject(new Error('the server ended a connection')))
    socket.on('error', () => {})
  }

  static async open(port: number, host = '127.0.0.1'): Promise<Wire> {
    const socket = connect(port, host)
    await once(socket, 'connect')
    return new Wire(socket)
  }

  static over(socket: Socket): Wire {
    return new Wire(socket)
  }

  write(text: string): void {
    this.#socket.write(text, 'latin1')
  }

  async ask(packet: string): Promise<string> {
    this.write(`${packet}\n`)
    return this.line()
  }

  async line(): Promise<string> {
    while (this.#lines.length === 0) {
      this.#waiting = Promise.withResolvers()
      await this.#waiting.promise
    }
    return this.#lines.shift()!
  }

  close(): void {
    this.#waiting = undefined
    this.#socket.destroy()
  }
}

/** Logs in once and returns the token. */
export async function logIn(wire: Wire, key: BenchKey): Promise<string> {
  const [no, handle, challenge] = (await wire.ask(key.auth)).split(';')
  if (no !== '1') throw new Error(`AUTH was refused: ${handle}`)
  const [done, token] = (await wire.ask(`2;${handle};${key.answer(challenge!)}`)).split(';')
  if (done !== '12') throw new Error(`VERIFY was refused: ${token}`)
  return token!
}

export interface Mailbox {
  readonly token: string
  readonly receiver: string
}

/** A connection may try 60 logins at once, and one a second after that. */
const LOGINS_PER_CONNECTION = 50

/** Opens mailboxes of new keys, each with a token of its owner. */
export async function openMailboxes(port: number, count: number): Promise<Mailbox[]> {
  const mailboxes: Mailbox[] = []
  let wire: Wire | undefined
  for (let i = 0; i < count; i++) {
    if (wire === undefined || i % LOGINS_PER_CONNECTION === 0) {
      wire?.close()
      wire = await Wire.open(port)
    }
    const key = createKey('sign-ed25519')
    mailboxes.push({ token: await logIn(wire, key), receiver: key.text })
  }
  wire?.close()
  return mailboxes
}

const AT_ONCE = 8
const KEYS: Record<Proof, number> = { 'decrypt-ed25519': 64, 'decrypt-rsa': 4, 'sign-ed25519': 64, 'sign-rsa': 4, 'sign-ecdsa': 64 }

/** Claims in one write: those of a person with 20 contacts. */
const CLAIMS = 20

async function claim(wire: Wire): Promise<void> {
  const packets = Array.from({ length: CLAIMS }, (_, n) => `34;${randomBytes(32).toString('base64url')};l${n}\n`)
  wire.write(packets.join(''))
  for (const _ of packets) if (!(await wire.line()).startsWith('12;')) throw new Error('CLAIM was refused')
}

async function workUntilOver(proof: Proof | 'claim', port: number, seconds: number): Promise<{ messages: number; seconds: number }> {
  const keys = proof === 'claim' ? [] : Array.from({ length: KEYS[proof] }, () => createKey(proof))
  process.stdout.write('ready\n')
  await once(process.stdin, 'data')
  process.stdin.pause()
  const began = performance.now()
  const end = began + seconds * 1_000
  let messages = 0
  const work = async (): Promise<void> => {
    while (performance.now() < end) {
      const wire = await Wire.open(port)
      for (let i = 0; i < LOGINS_PER_CONNECTION && performance.now() < end; i++) {
        if (proof !== 'claim') await logIn(wire, keys[messages++ % keys.length]!)
        else if (i * CLAIMS >= 200) break
        else {
          await claim(wire)
          messages += CLAIMS
        }
      }
      wire.close()
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return { messages, seconds: (performance.now() - began) / 1_000 }
}

if (import.meta.main) {
  const [proof, port, seconds] = process.argv.slice(2)
  const result = await workUntilOver(proof as Proof | 'claim', Number(port), Number(seconds))
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
