/** A control port of tor that a test plays. */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { Address } from '../../src/transport/address.ts'

/** Returns the answer to a command, CRLF included, or undefined to end the connection. */
export type Script = (command: string) => string | undefined

/** Starts a server in place of tor's control port. */
export async function listen(script: Script, heard: string[] = []): Promise<Address> {
  const server = createServer((socket) => {
    let rest = ''
    socket.on('error', () => {})
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\r\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        heard.push(line)
        const answer = script(line)
        if (answer === undefined) socket.end()
        else socket.write(answer, 'latin1')
      }
    })
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return { kind: 'tcp', host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

const PHASE = 'NOTICE BOOTSTRAP PROGRESS=80 TAG=ap_conn SUMMARY="Connecting to a relay"'

function info(methods: string, cookie?: string): string {
  const file = cookie === undefined ? '' : ` COOKIEFILE="${cookie}"`
  return `250-PROTOCOLINFO 1\r\n250-AUTH METHODS=${methods}${file}\r\n250-VERSION Tor="0.4.9.11"\r\n250 OK\r\n`
}

/** Plays tor's side of a control connection, as in control-spec.txt. */
export function tor(options: { methods: string; cookie?: Buffer; path?: string; phase?: string; liar?: boolean }): Script {
  const nonce = randomBytes(32)
  const cookie = options.cookie ?? Buffer.alloc(32)
  let material = Buffer.alloc(0)
  const hash = (key: string): Buffer => createHmac('sha256', key).update(material).digest()
  return (command) => {
    const [verb, ...args] = command.split(' ')
    switch (verb) {
      case 'PROTOCOLINFO':
        return info(options.methods, options.path)
      case 'AUTHCHALLENGE': {
        material = Buffer.concat([cookie, Buffer.from(args[1]!, 'hex'), nonce])
        const proof = options.liar ? randomBytes(32) : hash('Tor safe cookie authentication server-to-controller hash')
        return `250 AUTHCHALLENGE SERVERHASH=${proof.toString('hex').toUpperCase()} SERVERNONCE=${nonce.toString('hex').toUpperCase()}\r\n`
      }
      case 'AUTHENTICATE': {
        const expected = hash('Tor safe cookie authentication controller-to-server hash')
        const given = Buffer.from(args[0] ?? '', 'hex')
        const isGood = options.methods === 'NULL' || (given.length === 32 && timingSafeEqual(given, expected))
        return isGood ? '250 OK\r\n' : '515 Authentication failed\r\n'
      }
      case 'GETINFO':
        return `250-${args[0]}=${options.phase ?? PHASE}\r\n250 OK\r\n`
    }
    return '510 Unrecognized command\r\n'
  }
}

export function cookieFile(bytes: Uint8Array, name = 'cookie'): string {
  const folder = mkdtempSync(join(tmpdir(), 'asfaleia-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}
