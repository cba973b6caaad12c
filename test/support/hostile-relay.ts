/**
 * A relay on loopback that follows a test's script and records every byte that clients send, so that it can do
 * anything that a hostile relay can. `honestly` plays a correct login for scripts that attack later.
 */
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { encryptToKey } from '../../src/auth/age-ssh.ts'
import type { SshKey } from '../../src/auth/ssh-key.ts'
import { buildChallenge } from '../../src/protocol/challenge.ts'

export interface Peer {
  /** Returns the client's next line, or undefined once the client has gone. */
  line(): Promise<string | undefined>
  /** Sends text; resolves with true once the system has the bytes, or with false if the client has gone. */
  say(bytes: string | Uint8Array): Promise<boolean>
  end(): void
  /** Resolves when the connection has ended. */
  readonly gone: Promise<void>
}

export interface HostileRelay {
  /** `127.0.0.1:PORT` */
  readonly address: string
  /** Everything that clients sent, as latin1. */
  received(): string
  /** The number of connections so far. */
  connections(): number
  /** @throws an error of a script */
  close(): Promise<void>
}

/** Runs `script` for each connection, which ends with the script. */
export async function startHostileRelay(script: (peer: Peer) => Promise<void>): Promise<HostileRelay> {
  let received = ''
  let connections = 0
  const faults: unknown[] = []
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    connections++
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
    })
    const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    void script(createPeer(socket, gone))
      .catch((error: unknown) => faults.push(error))
      .finally(() => {
        socket.destroy()
        sockets.delete(socket)
      })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    received: () => received,
    connections: () => connections,
    async close() {
      for (const socket of sockets) socket.destroy()
      if (server.listening) await new Promise((resolve) => server.close(resolve))
      if (faults.length > 0) throw faults[0]
    },
  }
}

function createPeer(socket: Socket, gone: Promise<void>): Peer {
  let rest = ''
  const lines: string[] = []
  let wake: (() => void) | undefined
  socket.on('data', (chunk) => {
    const parts = (rest + chunk.toString('latin1')).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
    wake?.()
  })
  socket.on('close', () => wake?.())
  return {
    async line() {
      while (lines.length === 0 && !socket.destroyed) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      return lines.shift()
    },
    async say(bytes) {
      if (socket.destroyed) return false
      const taken = new Promise<boolean>((resolve) => socket.write(bytes, (error) => resolve(!error)))
      return Promise.race([taken, gone.then(() => false)])
    },
    end: () => socket.end(),
    gone,
  }
}

export const HANDLE = '4242'
export const NONCE = 'B'.repeat(42) + 'A'
export const TOKEN = 'a.b.c'

/** Builds a challenge as an honest relay would. */
export const challengeLine = (relay = 'localhost', handle = HANDLE): string => buildChallenge({ relay, handle, nonce: NONCE })

/** Builds a CHALLENGE of any text: encrypted to the victim's key, or plain for a proof by signature. */
export async function challengePacket(text: string | Uint8Array, victim: SshKey, sign = false): Promise<string> {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text
  return `1;${HANDLE};${Buffer.from(sign ? bytes : await encryptToKey(bytes, victim)).toString('base64')}\n`
}

/** Answers HELLO and goes through a login as an honest relay would. */
export async function honestly(peer: Peer, victim: SshKey, welcome = 'payload=32768'): Promise<void> {
  await peer.line()
  await peer.say(`18;asfaleia/1;${welcome}\n`)
  const auth = await peer.line()
  await peer.say(await challengePacket(challengeLine(), victim, auth?.endsWith(';sign')))
  await peer.line()
  await peer.say(`12;${TOKEN};3600\n`)
}
