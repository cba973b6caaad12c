/** The life of a relay: suspended for a handover, resumed, closed, and wiped in a panic. */
import { setImmediate as turn } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { parsePublicKey } from '../../src/auth/ssh-key.ts'
import { AUTH_NAMESPACE, signMessage } from '../../src/auth/sshsig.ts'
import type { HeldMessage } from '../../src/mailbox/mailbox.ts'
import { DEFAULT_LIMITS, STRANGER_LIMITS } from '../../src/protocol/limits.ts'
import { Relay, type RelayOptions } from '../../src/relay/relay.ts'
import type { Member } from '../../src/relay/roster.ts'
import type { ByteStream, Receiver } from '../../src/relay/stream.ts'
import { createPerson, type Person } from '../support/wire.ts'

const HOLD_MS = DEFAULT_LIMITS.holdSeconds * 1_000
const PAYLOAD = Buffer.alloc(4_096).toString('base64')
const [alice, bob] = [createPerson(), createPerson()]
const BUNDLE = Buffer.from('a bundle').toString('base64')

let now: number
let faults: unknown[]
let relay: Relay

function create(options: Partial<RelayOptions> = {}): Relay {
  return new Relay({
    limits: DEFAULT_LIMITS,
    memory: 2 ** 22,
    connections: 20,
    unproven: 20,
    perCircuit: 20,
    perKey: 20,
    perSender: 100_000,
    names: ['localhost'],
    now: () => now,
    onFault: (error) => faults.push(error),
    ...options,
  })
}

beforeEach(() => {
  now = 1_000_000
  faults = []
  relay = create()
})

afterEach(async () => {
  await relay.close()
  if (faults.length > 0) throw new AggregateError(faults)
})

interface Peer {
  readonly receiver: Receiver
  readonly said: string[]
  /** The relay's calls of `pause` and `resume`. */
  readonly steered: string[]
  /** Whether the relay destroyed the stream. Its end follows only when the test says so. */
  readonly isDestroyed: boolean
  send(text: string): void
  ask(packet: string): Promise<string>
  hangUp(): void
}

function connect(to: Relay, { circuit, dialled }: { circuit?: string; dialled?: string } = {}): Peer {
  const said: string[] = []
  const steered: string[] = []
  let isDestroyed = false
  let received = 0
  const stream: ByteStream = {
    framing: 'line',
    circuit,
    dialled,
    get received() {
      return received
    },
    write(bytes) {
      said.push(...Buffer.from(bytes).toString('latin1').split('\n').slice(0, -1))
      return true
    },
    pause: () => void steered.push('pause'),
    resume: () => void steered.push('resume'),
    widen: () => {},
    end: () => queueMicrotask(() => receiver.onEnd()),
    destroy: () => void (isDestroyed = true),
  }
  const receiver = to.accept(stream, 'tcp')
  const peer: Peer = {
    receiver,
    said,
    steered,
    get isDestroyed() {
      return isDestroyed
    },
    send(text) {
      received += text.length
      receiver.onChunk(Buffer.from(text, 'latin1'))
    },
    async ask(packet) {
      const before = said.length
      peer.send(`${packet}\n`)
      for (let n = 0; said.length === before; n++) {
        if (n > 10_000) throw new Error(`no answer to ${packet.slice(0, 40)}`)
        await turn()
      }
      return said[before]!
    },
    hangUp: () => receiver.onEnd(),
  }
  return peer
}

/** Sends everything of a login but its last packet, and returns that. */
async function begin(peer: Peer, { key, line }: Person): Promise<string> {
  const [, handle, challenge] = (await peer.ask(`0;${line};sign`)).split(';')
  const answer = Buffer.from(signMessage(key, AUTH_NAMESPACE, Buffer.from(challenge!, 'base64'))).toString('base64')
  return `2;${handle};${answer}`
}

async function login(peer: Peer, person: Person): Promise<string> {
  const [no, token = ''] = (await peer.ask(await begin(peer, person))).split(';')
  expect(no).toBe('12')
  return token
}

async function send(peer: Peer, token: string, to: Person): Promise<string> {
  return peer.ask(`3;${token};${to.line};${PAYLOAD}`)
}

/** Lets all work of the relay's prover end. */
async function settle(): Promise<void> {
  for (let n = 0; n < 200; n++) await turn()
}

/** Returns the mailboxes of all messages. */
function mailboxesOf(messages: Iterator<HeldMessage, void>): string[] {
  const mailboxes: string[] = []
  for (let next = messages.next(); next.done !== true; next = messages.next()) mailboxes.push(next.value.mailbox)
  return mailboxes
}

describe('the stream of a connection', () => {
  it('is paused once while a proof is under way, and is then resumed once', async () => {
    const peer = connect(relay)
    await peer.ask('7')
    expect(peer.steered).toEqual([])
    const verify = await begin(peer, alice)
    expect(peer.steered).toEqual(['pause', 'resume'])
    await peer.ask('7')
    await peer.ask(verify)
    expect(peer.steered).toEqual(['pause', 'resume', 'pause', 'resume'])
  })

  it('is left alone after its end, also if a proof was under way', async () => {
    const peer = connect(relay)
    const verify = await begin(peer, alice)
    peer.send(`${verify}\n`)
    peer.hangUp()
    await settle()
    expect(peer.steered).toEqual(['pause', 'resume', 'pause'])
  })
})

describe('a relay that hands over', () => {
  it('expires no message, and the relay that goes on does', async () => {
    const peer = connect(relay)
    expect(await send(peer, await login(peer, alice), bob)).toMatch(/^13;/)
    await relay.suspend()
    now += HOLD_MS
    relay.tick()
    expect(relay.snapshot().messages).toBe(1)
    relay.resume()
    relay.tick()
    expect(relay.snapshot().messages).toBe(0)
  })

  it('erases no mailbox of a key that expires meanwhile', async () => {
    const member = ({ line }: Person, more: Partial<Member> = {}): Member => ({ fingerprint: parsePublicKey(line).fingerprint, ...more })
    await relay.close()
    relay = create({ admit: [member(alice), member(bob, { expires: now + 10_000 })] })
    const peer = connect(relay)
    expect(await send(peer, await login(peer, alice), bob)).toMatch(/^13;/)
    await relay.suspend()
    now += 10_000
    relay.tick()
    expect(relay.snapshot().messages).toBe(1)
    relay.resume()
    expect(relay.snapshot().messages).toBe(0)
  })

  it('accepts no connection until it is resumed', async () => {
    await relay.suspend()
    expect(connect(relay).said).toEqual([expect.stringMatching(/^99;restarting;.*;3$/)])
    relay.resume()
    expect(await connect(relay).ask('7')).toBe('17')
  })

  it('tells by its estate whether the operator wiped it meanwhile', async () => {
    const estate = await relay.suspend()
    expect(estate.intact()).toBe(true)
    relay.wipe()
    expect(estate.intact()).toBe(false)
    relay.resume()
    expect((await relay.suspend()).intact()).toBe(true)
  })

  it('cannot be resumed once it is closed', async () => {
    await relay.close()
    relay.resume()
    expect(connect(relay).said).toEqual([expect.stringMatching(/^99;restarting;/)])
  })

  it('gives the next relay only what that one admits', async () => {
    const peer = connect(relay)
    const token = await login(peer, alice)
    for (const to of [alice, bob]) expect(await send(peer, token, to)).toMatch(/^13;/)
    expect(await peer.ask(`30;${token};${BUNDLE}`)).toMatch(/^31;/)
    const { secrets, held, heldBundles } = await relay.suspend()
    const next = create({ inherited: secrets, admit: [{ fingerprint: parsePublicKey(bob.line).fingerprint }] })
    const [messages, bundles] = [held(), heldBundles()]
    for (let each = messages.next(); each.done !== true; each = messages.next()) expect(next.restore(each.value)).toBe(true)
    for (let each = bundles.next(); each.done !== true; each = bundles.next()) next.restoreBundle(each.value)
    expect(next.snapshot()).toMatchObject({ messages: 1, bundles: 0 })
    await next.close()
  })
})

describe('a panic', () => {
  it('erases every message and bundle, and ends every connection without a packet', async () => {
    const peer = connect(relay)
    const token = await login(peer, alice)
    expect(await send(peer, token, bob)).toMatch(/^13;/)
    expect(await peer.ask(`30;${token};${BUNDLE}`)).toMatch(/^31;/)
    const before = peer.said.length
    relay.wipe()
    expect(peer.isDestroyed).toBe(true)
    expect(peer.said.length).toBe(before)
    expect(relay.snapshot()).toMatchObject({ connections: 0, messages: 0, bundles: 0, mailboxes: 0, accepting: true })
  })

  it('ends a login that is being proven: it gives no token, even if its stream ends later', async () => {
    const peer = connect(relay)
    const last = await begin(peer, alice)
    const before = peer.said.length
    peer.send(`${last}\n`)
    relay.wipe()
    await settle()
    expect(peer.said.length).toBe(before)
    expect(relay.counters.logins.sign).toBe(0)
    expect(relay.snapshot()).toMatchObject({ connections: 0, proven: 0 })
    peer.hangUp()
    expect(relay.snapshot().connections).toBe(0)
  })

  it('forgets who sent, and how much', async () => {
    const peer = connect(relay)
    const token = await login(peer, alice)
    while ((await send(peer, token, bob)).startsWith('13;'));
    expect([...(await relay.suspend()).spent()]).toHaveLength(1)
    relay.resume()
    relay.wipe()
    expect([...(await relay.suspend()).spent()]).toEqual([])
    relay.resume()
    const next = connect(relay)
    expect(await send(next, await login(next, alice), bob)).toMatch(/^13;/)
  })

  it('forgets what a circuit sent whose streams have ended', async () => {
    const peer = connect(relay, { circuit: 'a' })
    const token = await login(peer, alice)
    while ((await send(peer, token, bob)).startsWith('13;'));
    peer.hangUp()
    relay.wipe()
    const next = connect(relay, { circuit: 'a' })
    expect(await send(next, await login(next, bob), alice)).toMatch(/^13;/)
  })

  it('makes old tokens invalid, and blinds the ids of mailboxes anew', async () => {
    const peer = connect(relay)
    const token = await login(peer, alice)
    expect(await send(peer, token, bob)).toMatch(/^13;/)
    const [before] = mailboxesOf((await relay.suspend()).held())
    relay.resume()
    relay.wipe()
    const next = connect(relay)
    expect(await send(next, token, bob)).toMatch(/^99;bad-token;/)
    expect(await send(next, await login(next, alice), bob)).toMatch(/^13;/)
    const [after] = mailboxesOf((await relay.suspend()).held())
    expect(before).toBeDefined()
    expect(after).not.toBe(before)
    relay.resume()
  })

  it('keeps the list of admitted keys', async () => {
    relay.admit([{ fingerprint: parsePublicKey(alice.line).fingerprint }])
    relay.wipe()
    await login(connect(relay), alice)
    const peer = connect(relay)
    expect(await peer.ask(await begin(peer, bob))).toMatch(/^99;denied;/)
  })
})

describe('a relay that stops', () => {
  it('overwrites its messages', async () => {
    const peer = connect(relay)
    expect(await send(peer, await login(peer, alice), bob)).toMatch(/^13;/)
    await relay.close()
    expect(relay.snapshot()).toMatchObject({ connections: 0, messages: 0 })
  })
})

it('a stranger sends no more than a stranger may, whatever members may send', async () => {
  await relay.close()
  const members = Array.from({ length: 5 }, () => createPerson())
  const admit = members.map(({ line }) => ({ fingerprint: parsePublicKey(line).fingerprint }))
  relay = create({ admit, strangers: 'send', memory: 2 ** 26, perSender: 2 ** 26 })
  const peer = connect(relay)
  const token = await login(peer, alice)
  const payload = 'A'.repeat(DEFAULT_LIMITS.payload)
  const most = STRANGER_LIMITS.perSender / DEFAULT_LIMITS.payload
  for (let n = 0; n < most; n++) expect(await peer.ask(`3;${token};${members[n % 5]!.line};${payload}`)).toMatch(/^13;/)
  expect(await peer.ask(`3;${token};${members[0]!.line};AAAA`)).toMatch(/^99;rate-limited;/)
})

it('a connection learns only of the name by which it came', async () => {
  await relay.close()
  relay = create({ names: ['localhost', `${'a'.repeat(56)}.onion`] })
  expect(await connect(relay, { dialled: 'localhost' }).ask(`8;asfaleia/1;${'a'.repeat(56)}.onion`)).toMatch(/^99;wrong-usage;/)
  expect(await connect(relay).ask(`8;asfaleia/1;${'a'.repeat(56)}.onion`)).toMatch(/^18;/)
})
