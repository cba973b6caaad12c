/**
 * A raw client for tests: packets as lines over TCP, a unix socket or WebSocket, with both proofs. It omits
 * every check that a real client must make; those belong to src/client.
 */
import { connect, type Socket } from 'node:net'
import { Decrypter } from 'age-encryption'
import { WebSocket } from 'ws'
import { SshIdentity } from '../../src/auth/age-ssh.ts'
import { generatePrivateKey, parsePrivateKey, type SshPrivateKey } from '../../src/auth/private-key.ts'
import { AUTH_NAMESPACE, signMessage } from '../../src/auth/sshsig.ts'
import type { Address } from '../../src/transport/address.ts'

export interface Person {
  readonly key: SshPrivateKey
  /** The public key, `type base64`. */
  readonly line: string
}

export function createPerson(): Person {
  const made = generatePrivateKey('')
  return { key: parsePrivateKey(Buffer.from(made.file)), line: made.public.trim() }
}

export interface Wire {
  /** Sends bytes unchanged (over WebSocket: one message for each line). */
  send(text: string): void
  /** Returns the next line, or undefined once the connection has ended. */
  line(): Promise<string | undefined>
  ask(packet: string): Promise<string>
  login(person: Person, method?: 'decrypt' | 'sign'): Promise<string>
  /** Stops reading, and resumes. */
  pause(): void
  resume(): void
  /** Closes the sending side; the relay then closes its side, too. */
  finish(): void
  /** Disconnects without a close. */
  destroy(): void
}

type Transport = Pick<Wire, 'send' | 'pause' | 'resume' | 'finish' | 'destroy'>

function createWire(open: (onText: (text: string) => void, onEnd: () => void) => Transport): Wire {
  const lines: string[] = []
  let partial = ''
  const state = { ended: false }
  let wake = (): void => {}
  const transport = open(
    (text) => {
      const all = (partial + text).split('\n')
      partial = all.pop()!
      lines.push(...all)
      wake()
    },
    () => {
      state.ended = true
      wake()
    },
  )
  const wire: Wire = {
    ...transport,
    async line() {
      while (lines.length === 0 && !state.ended) await new Promise<void>((resolve) => (wake = resolve))
      return lines.shift()
    },
    async ask(packet) {
      wire.send(`${packet}\n`)
      return (await wire.line()) ?? ''
    },
    async login({ key, line }, method = 'decrypt') {
      const [, handle, challenge] = (await wire.ask(`0;${line}${method === 'sign' ? ';sign' : ''}`)).split(';')
      const bytes = Buffer.from(challenge!, 'base64')
      const answer = method === 'sign' ? Buffer.from(signMessage(key, AUTH_NAMESPACE, bytes)).toString('base64') : await decrypt(key, bytes)
      const token = await wire.ask(`2;${handle};${answer}`)
      if (!token.startsWith('12;')) throw new Error(`no token: ${token}`)
      return token.split(';')[1]!
    },
  }
  return wire
}

async function decrypt(key: SshPrivateKey, file: Uint8Array): Promise<string> {
  const decrypter = new Decrypter()
  decrypter.addIdentity(new SshIdentity(key))
  return decrypter.decrypt(file, 'text')
}

/** Connects to a raw door. `first` is sent before the first packet, for example a PROXY line. */
export async function connectRaw(address: Address, first = ''): Promise<Wire> {
  let socket: Socket | undefined
  const wire = createWire((onText, onEnd) => {
    const opened = address.kind === 'tcp' ? connect(address.port, address.host) : connect(address.path)
    opened.on('data', (chunk: Buffer) => onText(chunk.toString('latin1')))
    opened.on('error', () => {})
    opened.on('close', onEnd)
    socket = opened
    return {
      send: (text) => void opened.write(text, 'latin1'),
      pause: () => void opened.pause(),
      resume: () => void opened.resume(),
      finish: () => void opened.end(),
      destroy: () => void opened.destroy(),
    }
  })
  await new Promise<void>((resolve) => {
    socket!.once('connect', resolve)
    socket!.once('close', resolve)
  })
  if (first !== '') wire.send(first)
  return wire
}

export interface FrameWire extends Wire {
  /** Sends raw bytes without framing. */
  sendRaw(bytes: Uint8Array): void
}

/** Connects to `/v1` of the public listener. */
export async function connectWebSocket(
  address: Address,
  options: { binary?: boolean; first?: string; protocols?: string[]; headers?: Record<string, string> } = {},
): Promise<FrameWire> {
  const url = address.kind === 'tcp' ? `ws://127.0.0.1:${address.port}/v1` : `ws+unix:${address.path}:/v1`
  const { first } = options
  const socket = new WebSocket(url, options.protocols ?? ['asfaleia.1'], {
    perMessageDeflate: false,
    headers: options.headers ?? {},
    ...(first === undefined || address.kind !== 'tcp'
      ? {}
      : {
          createConnection: () => {
            const raw = connect(address.port, address.host)
            raw.write(first)
            return raw
          },
        }),
  })
  const wire = createWire((onText, onEnd) => {
    socket.on('message', (message: Buffer) => onText(`${message.toString('latin1')}\n`))
    socket.on('error', () => {})
    socket.on('close', onEnd)
    return {
      send(text) {
        for (const packet of text.split('\n').slice(0, -1)) socket.send(Buffer.from(packet, 'latin1'), { binary: options.binary ?? false })
      },
      pause: () => socket.pause(),
      resume: () => socket.resume(),
      finish: () => socket.close(1000),
      destroy: () => socket.terminate(),
    }
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('unexpected-response', (_request, response) => reject(new Error(`HTTP ${response.statusCode}`)))
    socket.once('close', () => resolve())
  })
  const inside = socket as unknown as { readonly _socket: Socket }
  return { ...wire, sendRaw: (bytes) => void inside._socket.write(bytes) }
}
