/**
 * The example session of docs/protocol.md: reads it from the document, and plays its client's side unchanged
 * against a current relay. Run by node, this file prints a new session for the document, for use after a change
 * of the protocol.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Decrypter } from 'age-encryption'
import { SshIdentity } from '../../src/auth/age-ssh.ts'
import { parsePrivateKey, type SshPrivateKey } from '../../src/auth/private-key.ts'
import { AUTH_NAMESPACE, signMessage } from '../../src/auth/sshsig.ts'
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import { Relay } from '../../src/relay/relay.ts'
import { createSocketServer, listen, serveSocket } from '../../src/transport/socket.ts'

const ROOT = join(import.meta.dirname, '../..')
export const VECTORS = join(ROOT, 'test/vectors/example')

export type Person = 'alice' | 'bob'
/** A connection of the example: of a person who logs in, or of one who only claims. */
export type Speaker = Person | 'sender' | 'reader'

export interface Line {
  readonly from: 'client' | 'relay'
  /** The packet without its LF. */
  readonly packet: string
}

/** One connection: who opens it, and all packets on it. */
export interface Talk {
  readonly speaker: Speaker
  readonly lines: readonly Line[]
}

/** Reads the fenced blocks whose info string is `session NAME`; `> ` begins a client's line, `< ` a relay's. */
export function readExample(document: string): Talk[] {
  return [...document.matchAll(/^```session (alice|bob|sender|reader)\n(.*?)^```$/gms)].map(([, speaker, body]) => ({
    speaker: speaker as Speaker,
    lines: body!
      .trimEnd()
      .split('\n')
      .map((line) => {
        const match = /^([<>]) (.+)$/.exec(line)
        if (match === null) throw new Error('a line of the example has no direction')
        return { from: match[1] === '>' ? 'client' : 'relay', packet: match[2]! }
      }),
  }))
}

export function readDocument(): string {
  return readFileSync(join(ROOT, 'docs/protocol.md'), 'utf8')
}

export function readKey(person: Person): SshPrivateKey {
  return parsePrivateKey(readFileSync(join(VECTORS, person)))
}

/**
 * Starts a relay with default limits and the name `localhost` on a loopback port. `close` throws any internal
 * error of the relay.
 */
export async function startRelay(): Promise<{ readonly relay: Relay; readonly port: number; close(): Promise<void> }> {
  const faults: unknown[] = []
  const relay = new Relay({
    limits: DEFAULT_LIMITS,
    memory: 2 ** 20,
    connections: 10,
    unproven: 10,
    perCircuit: 10,
    perKey: 10,
    perSender: 2 ** 26,
    names: ['localhost'],
    onFault: (error) => faults.push(error),
  })
  const server = createSocketServer((socket) => serveSocket(socket, undefined, (stream) => relay.accept(stream, 'tcp')))
  const address = await listen(server, { kind: 'tcp', host: '127.0.0.1', port: 0 })
  if (address.kind !== 'tcp') throw new Error('no port was taken')
  return {
    relay,
    port: address.port,
    async close() {
      await relay.close()
      await new Promise((resolve) => server.close(resolve))
      if (faults.length > 0) throw faults[0]
    },
  }
}

/** Plays the same talks over sockets with a current relay, with newly drawn values in place of the document's. */
export async function playExample(talks: readonly Talk[]): Promise<Talk[]> {
  const { port, close } = await startRelay()
  /** Maps a value in the document to its replacement. */
  const now = new Map<string, string>()
  const played: Talk[] = []
  try {
    for (const talk of talks) {
      const socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
      played.push({ speaker: talk.speaker, lines: await playTalk(talk, socket, now) })
      socket.destroy()
    }
  } finally {
    await close()
  }
  return played
}

async function playTalk(talk: Talk, socket: Socket, now: Map<string, string>): Promise<Line[]> {
  const answers = createInterface({ input: socket })[Symbol.asyncIterator]()
  const lines: Line[] = []
  let challenge = ''
  let sign = false
  for (const { from, packet } of talk.lines) {
    const fields = packet.split(';')
    if (from === 'client') {
      if (fields[0] === '0') sign = fields[2] === 'sign'
      const said = fields.map((field) => now.get(field) ?? field)
      if (fields[0] === '2') said[2] = await answerChallenge(readKey(talk.speaker as Person), challenge, sign)
      socket.write(`${said.join(';')}\n`)
      lines.push({ from, packet: said.join(';') })
    } else {
      const { value, done } = await answers.next()
      if (done === true) throw new Error('the relay hung up')
      for (const [index, field] of value.split(';').entries()) now.set(fields[index] ?? '', field)
      if (fields[0] === '1') challenge = value.split(';')[2] ?? ''
      lines.push({ from, packet: value })
    }
  }
  return lines
}

/** Answers a challenge: with the line in the age file, or with the base64 of a signature over the line. */
export async function answerChallenge(key: SshPrivateKey, base64: string, sign: boolean): Promise<string> {
  const body = Buffer.from(base64, 'base64')
  if (sign) return Buffer.from(signMessage(key, AUTH_NAMESPACE, body)).toString('base64')
  return Buffer.from(await openAge(key, body)).toString()
}

export function openAge(key: SshPrivateKey, file: Uint8Array): Promise<Uint8Array> {
  const decrypter = new Decrypter()
  decrypter.addIdentity(new SshIdentity(key))
  return decrypter.decrypt(file)
}

if (import.meta.main) {
  for (const { speaker, lines } of await playExample(readExample(readDocument()))) {
    const body = lines.map(({ from, packet }) => `${from === 'client' ? '>' : '<'} ${packet}\n`).join('')
    process.stdout.write(`\`\`\`session ${speaker}\n${body}\`\`\`\n\n`)
  }
}
