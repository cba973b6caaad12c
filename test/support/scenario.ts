/**
 * All user actions at a relay over each of its doors, with unique bytes: finding some of these bytes afterwards
 * shows what was kept and from which step.
 */
import { createHash, randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { Decrypter } from 'age-encryption'
import { SshIdentity } from '../../src/auth/age-ssh.ts'
import { formatFingerprint } from '../../src/auth/ssh-key.ts'
import { AUTH_NAMESPACE, signMessage } from '../../src/auth/sshsig.ts'
import type { Address } from '../../src/transport/address.ts'
import { ASFALEIA, start, type Running } from './process.ts'
import { connectRaw, connectWebSocket, createPerson, type Person, type Wire } from './wire.ts'

/** Excuses the properties of a test machine that the relay would warn about. */
export const ANYWHERE = ['--allow-unsafe', 'swap,core-dumps,root,working-directory']
/** Import as they are: tests use these to plant a fault in the relay and check that it is detected. */
export const FAULTY = ['--allow-unsafe', 'swap,core-dumps,root,working-directory,node-options,confinement']

/** Source text of a fault: sockets read into Node's own buffer, so that their events carry all received data. */
export const READS_AS_NODE_DOES = 'Object.getOwnPropertySymbols = () => []'

export interface RunningRelay extends Running {
  readonly doors: Readonly<Record<'tcp' | 'unix' | 'http' | 'operator', Address>>
}

export interface RelayOptions {
  /** The folder of the unix socket, and the working directory. */
  readonly folder: string
  readonly more?: readonly string[]
  /** Source text of a module that is loaded before the relay's own code, which then runs unconfined. */
  readonly fault?: string
  /** Words before the command, such as strace and its options. */
  readonly under?: readonly string[]
}

/** Starts the built relay as a process with every door open; it is confined unless a fault is planted. */
export async function startRelay({ folder, more = [], fault, under = [] }: RelayOptions): Promise<RunningRelay> {
  const [node, main] = ASFALEIA
  const planted = fault === undefined ? [] : ['--import', `data:text/javascript,${encodeURIComponent(fault)}`]
  const listeners = ['--tcp', '127.0.0.1:0', '--unix', `${folder}/r.sock`, '--http', '127.0.0.1:0', '--operator', '127.0.0.1:0']
  const options = ['--name', 'localhost', '--log-level', 'debug', ...(fault === undefined ? ANYWHERE : FAULTY), ...more]
  const relay = start([...under, node, ...planted, main, 'relay', ...listeners, ...options], { cwd: folder })
  await relay.until(/^ready$/m)
  const at = (door: string): Address => {
    const [, host = '', port] = new RegExp(`^${door} (\\S+):(\\d+)$`, 'm').exec(relay.stdout()) ?? []
    return { kind: 'tcp', host, port: Number(port) }
  }
  return {
    ...relay,
    doors: { tcp: at('tcp'), unix: { kind: 'unix', path: `${folder}/r.sock` }, http: at('http'), operator: at('operator') },
  }
}

export const WIRES = {
  tcp: ({ doors }: RunningRelay) => connectRaw(doors.tcp),
  unix: ({ doors }: RunningRelay) => connectRaw(doors.unix),
  'websocket, text': ({ doors }: RunningRelay) => connectWebSocket(doors.http),
  'websocket, binary': ({ doors }: RunningRelay) => connectWebSocket(doors.http, { binary: true }),
} as const
export type WireName = keyof typeof WIRES
export const WIRE_NAMES = Object.keys(WIRES) as WireName[]

/** Byte strings to search for, by name. Each is long enough that a match is not accidental. */
export type Canaries = Record<string, Uint8Array>

/** Draws unique base64 text. A payload repeats it many times, so that any remaining part of it is found. */
export function drawMark(): string {
  return randomBytes(12).toString('base64').replaceAll(/[+/]/g, 'x')
}

export function payloadOf(mark: string, times = 120): string {
  return mark.repeat(times)
}

/** Logs in and returns the values that no other client learns. */
export async function login(
  wire: Wire,
  person: Person,
  method: 'decrypt' | 'sign',
): Promise<{ token: string; handle: string; line: string }> {
  const [, handle = '', challenge = ''] = (await wire.ask(`0;${person.line}${method === 'sign' ? ';sign' : ''}`)).split(';')
  const bytes = Buffer.from(challenge, 'base64')
  let line = bytes.toString('latin1')
  let answer: string
  if (method === 'sign') {
    answer = Buffer.from(signMessage(person.key, AUTH_NAMESPACE, bytes)).toString('base64')
  } else {
    const decrypter = new Decrypter()
    decrypter.addIdentity(new SshIdentity(person.key))
    answer = line = await decrypter.decrypt(bytes, 'text')
  }
  const [number, token = ''] = (await wire.ask(`2;${handle};${answer}`)).split(';')
  if (number !== '12') throw new Error('no token')
  return { token, handle, line }
}

/** Returns a key's forms: as written, as sent in a blob, and as programs commonly print it. */
export function keyCanaries(name: string, { key, line }: Person): { text: Canaries; bytes: Canaries } {
  const { blob, material, fingerprint } = key.public
  if (material.kind !== 'ed25519') throw new Error('people have ed25519 keys')
  // Omit the first and last bytes, which an encoding of more than the key may merge with neighbours.
  const point = Buffer.from(material.point.slice(2, 30))
  const [, base64 = ''] = line.split(' ')
  return {
    text: {
      [`${name}: base64`]: Buffer.from(base64.slice(28)),
      [`${name}: base64 in UTF-16`]: Buffer.from(base64.slice(28), 'utf16le'),
      // The same inside a signature, shifted by one byte and by two.
      [`${name}: base64, shifted by 1`]: Buffer.from(
        Buffer.concat([Buffer.of(0), blob])
          .toString('base64')
          .slice(32, -4),
      ),
      [`${name}: base64, shifted by 2`]: Buffer.from(
        Buffer.concat([Buffer.of(0, 0), blob])
          .toString('base64')
          .slice(32, -4),
      ),
      [`${name}: fingerprint`]: Buffer.from(formatFingerprint(fingerprint).slice('SHA256:'.length)),
    },
    bytes: {
      [`${name}: point`]: point,
      [`${name}: hex`]: Buffer.from(point.toString('hex')),
      [`${name}: hex, little-endian`]: Buffer.from(Buffer.from(point.toReversed()).toString('hex')),
      [`${name}: base64url`]: Buffer.from(Buffer.from(material.point).toString('base64url').slice(3, 40)),
    },
  }
}

export interface Played {
  /** Of messages that were erased. */
  readonly payloads: Canaries
  /** Of users who have left: the key as text and as bytes. */
  readonly keyTexts: Canaries
  readonly keyBytes: Canaries
  /** Tokens, handles, challenges and message ids. */
  readonly secrets: Canaries
}

/** Sends `count` messages to the sender's own mailbox; returns their ids. */
export async function sendOwn(wire: Wire, token: string, person: Person, payload: string, count = 5): Promise<string[]> {
  const ids: string[] = []
  for (let i = 0; i < count; i++) {
    const [number, id = ''] = (await wire.ask(`3;${token};${person.line};${payload}`)).split(';')
    if (number !== '13') throw new Error('not sent')
    ids.push(id)
  }
  return ids
}

async function expect(wire: Wire, packet: string, answer: RegExp): Promise<void> {
  const said = await wire.ask(packet)
  if (!answer.test(said)) throw new Error(`expected ${answer}, not ${said.slice(0, 80)}`)
}

/** Each way except expiry in which a message leaves the relay. */
export const WAYS = {
  async ack(wire, token, ids) {
    await expect(wire, `4;${token};lease`, /^14;5;0$/)
    for (const _ of ids) await wire.line()
    await expect(wire, `5;${token};${ids.join(';')}`, /^15;5$/)
  },
  async get(wire, token, ids) {
    await expect(wire, `4;${token}`, /^14;5;0$/)
    for (const _ of ids) await wire.line()
    // They were erased once written out, which the answer to a later request proves.
    await expect(wire, `4;${token}`, /^14;0;0$/)
  },
  async subscribe(wire, token, ids) {
    await expect(wire, `6;${token}`, /^16;5$/)
    for (const _ of ids) await wire.line()
    await expect(wire, `5;${token};${ids.join(';')}`, /^15;5$/)
  },
  async wipe(wire, token) {
    await expect(wire, `9;${token}`, /^19;5$/)
  },
} as const satisfies Record<string, (wire: Wire, token: string, ids: readonly string[]) => Promise<void>>

/** Over each door, a user logs in by each proof, sends, receives in each way, makes each mistake, and leaves. */
export async function play(relay: RunningRelay): Promise<Played> {
  const played: Played = { payloads: {}, keyTexts: {}, keyBytes: {}, secrets: {} }
  for (const name of WIRE_NAMES) {
    for (const [index, [way, take]] of Object.entries(WAYS).entries()) {
      const method = index % 2 === 0 ? 'decrypt' : 'sign'
      const step = `${name}, ${method}, ${way}`
      const person = createPerson()
      const wire = await WIRES[name](relay)
      await expect(wire, '8;asfaleia/1;localhost', /^18;/)
      const { token, handle, line } = await login(wire, person, method)
      const mark = drawMark()
      const ids = await sendOwn(wire, token, person, payloadOf(mark))
      await take(wire, token, ids)
      const { text, bytes } = keyCanaries(step, person)
      Object.assign(played.keyTexts, text)
      Object.assign(played.keyBytes, bytes)
      played.payloads[step] = Buffer.from(mark)
      const secrets = {
        token: token.slice(40, 100),
        handle,
        challenge: line.slice(-43),
        ...Object.fromEntries(ids.map((id, i) => [`id ${i}`, id])),
      }
      for (const [kind, secret] of Object.entries(secrets)) played.secrets[`${step}: ${kind}`] = Buffer.from(secret)
      await leave(wire)
    }
    Object.assign(played.payloads, await claim(await WIRES[name](relay), name))
    const wire = await WIRES[name](relay)
    const erring = `erring, ${name}`
    const [mark, forged] = [drawMark(), drawMark()]
    played.payloads[erring] = Buffer.from(mark)
    played.secrets[`${erring}: token`] = Buffer.from(forged)
    for (const packet of [`0;ssh-ed25519 ${mark}`, `4;${forged}`, `3;${forged};${mark};${mark}`, `77;${mark}`, `2;1;${mark}`, `8;${mark}`])
      await expect(wire, packet, /^99;/)
    await expect(wire, `4;${payloadOf(mark, 1_000)}`, /^99;too-large;/)
    if ((await wire.line()) !== undefined) throw new Error('it was to close')
  }
  return played
}

/** A user claims a mailbox, publishes a bundle there, gets a message, and takes everything down again. */
async function claim(wire: Wire, name: WireName): Promise<Canaries> {
  const secret = randomBytes(32)
  const text = secret.toString('base64url')
  const address = `SHA256:${createHash('sha256').update(secret).digest('base64').replace('=', '')}`
  const [message, first, second] = [drawMark(), drawMark(), drawMark()]
  await expect(wire, `34;${text};a`, /^12;/)
  await expect(wire, '6;a', /^16;0$/)
  for (const mark of [first, second]) {
    await expect(wire, `30;a;${payloadOf(mark)}`, /^31;1209600$/)
    await expect(wire, `32;a;${address}`, /^33;./)
  }
  const [number, id] = (await wire.ask(`3;a;${address};${payloadOf(message)}`)).split(';')
  if (number !== '13') throw new Error('not sent')
  await wire.line()
  await expect(wire, `5;a;${id}`, /^15;1$/)
  await expect(wire, '30;a', /^31;0$/)
  await expect(wire, `34;${text};A`, /^99;wrong-usage;/)
  await leave(wire)
  return {
    [`${name}, claim`]: Buffer.from(message),
    [`${name}, claim: replaced bundle`]: Buffer.from(first),
    [`${name}, claim: bundle`]: Buffer.from(second),
    [`${name}, claim: secret`]: Buffer.from(text.slice(4, 40)),
    // These never are on the wire.
    [`claim: the bytes of a secret, door ${name} `]: secret.subarray(2, 30),
  }
}

/** Waits until the relay has closed its side, too, and thus holds nothing of the connection. */
export async function leave(wire: Wire): Promise<void> {
  wire.finish()
  while ((await wire.line()) !== undefined);
}

/** Fetches a page: status line, headers and body. */
export function fetchPage(address: Address, path: string, method = 'GET'): Promise<string> {
  return new Promise((resolve, reject) => {
    const where = address.kind === 'tcp' ? { host: address.host, port: address.port } : { socketPath: address.path }
    const asked = request({ ...where, path, method, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve(`${response.statusCode} ${JSON.stringify(response.rawHeaders)}\n${Buffer.concat(chunks).toString()}`),
      )
    })
    asked.on('error', reject)
    asked.end()
  })
}

/** Polls the operator page until the relay holds no message. */
export async function untilEmpty(relay: RunningRelay): Promise<void> {
  for (;;) {
    const [, body = '{}'] = /\n(\{.*\})/.exec(await fetchPage(relay.doors.operator, '/status')) ?? []
    if ((JSON.parse(body) as { messages?: number }).messages === 0) return
  }
}
