/**
 * Attacks and crowds: the relay's bounds hold, it serves the others, and it loses no accepted message. The
 * streams live in this process, so that thousands of them cost little; no test waits for a clock.
 */
import { createHash, randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AUTH_NAMESPACE, signMessage } from '../../src/auth/sshsig.ts'
import { MAILBOX_BYTES, MemoryMailboxes, MESSAGE_BYTES } from '../../src/mailbox/mailbox.ts'
import { footprint } from '../../src/mailbox/arena.ts'
import { DEFAULT_LIMITS } from '../../src/protocol/limits.ts'
import { Relay } from '../../src/relay/relay.ts'
import type { ByteStream, Receiver } from '../../src/relay/stream.ts'
import { TRAFFIC_BYTES } from '../../src/relay/traffic.ts'
import { createPerson, type Person } from '../support/wire.ts'

const UNPROVEN = 2_000
const CONNECTIONS = 3_000
/** The most that a session buffers for a reader, plus as much in flight, plus one message each. */
const OUTPUT_MOST = 2 * (48 * 1_024 + DEFAULT_LIMITS.payload + 64)

let relay: Relay
let faults: unknown[]

beforeEach(() => {
  faults = []
  relay = new Relay({
    limits: DEFAULT_LIMITS,
    memory: 2 ** 26,
    connections: CONNECTIONS,
    unproven: UNPROVEN,
    perCircuit: 64,
    perKey: CONNECTIONS,
    perSender: 2 ** 30,
    names: ['localhost'],
    onFault: (error) => faults.push(error),
  })
})

afterEach(async () => {
  await relay.close()
  if (faults.length > 0) throw new AggregateError(faults)
})

interface Peer {
  /** Sends text in pieces of `piece` bytes, as soon as the relay reads. */
  send(text: string, piece?: number): void
  /** Returns the lines written to this peer since the last call. */
  read(): string[]
  /** Returns the next line as soon as it arrives. */
  line(): Promise<string>
  /** The number of bytes that the relay wrote and this peer has not read. */
  readonly untaken: number
  /** Stops reading. */
  stall(): void
  readonly ended: boolean
  hangUp(): void
}

function connect(circuit?: string): Peer {
  const state = { said: '', received: 0, reading: true, ended: false, stalled: false }
  let pending: { readonly bytes: Uint8Array; readonly done: () => void } | undefined
  let heard = (): void => {}
  const flush = (): void => {
    while (pending !== undefined && !state.stalled) {
      const { bytes, done } = pending
      pending = undefined
      state.said += Buffer.from(bytes).toString('latin1')
      done()
    }
    heard()
  }
  const end = (): void => {
    if (state.ended) return
    state.ended = true
    receiver.onEnd()
  }
  const unread: string[] = []
  const pump = (): void => {
    while (state.reading && !state.ended && unread.length > 0) {
      const chunk = Buffer.from(unread.shift()!, 'latin1')
      state.received += chunk.length
      receiver.onChunk(chunk)
    }
  }
  const stream: ByteStream = {
    framing: 'line',
    circuit,
    get received() {
      return state.received
    },
    write(bytes, done) {
      pending = { bytes, done }
      queueMicrotask(flush)
      return false
    },
    pause: () => void (state.reading = false),
    resume() {
      state.reading = true
      queueMicrotask(pump)
    },
    widen: () => {},
    end: () => queueMicrotask(end),
    destroy: () => queueMicrotask(end),
  }
  const receiver: Receiver = relay.accept(stream, 'tcp')
  return {
    send(text, piece = text.length) {
      for (let at = 0; at < text.length; at += piece) unread.push(text.slice(at, at + piece))
      pump()
    },
    read() {
      const lines = state.said.split('\n')
      state.said = lines.pop()!
      return lines
    },
    async line() {
      while (!state.said.includes('\n')) await new Promise<void>((resolve) => (heard = resolve))
      const [line = '', ...rest] = state.said.split('\n')
      state.said = rest.join('\n')
      return line
    },
    get untaken() {
      return pending?.bytes.length ?? 0
    },
    stall: () => void (state.stalled = true),
    get ended() {
      return state.ended
    },
    hangUp: end,
  }
}

/** Waits for the work that the relay does after the turn, and in some more. */
async function settle(turns = 1): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
}
/** Turns in which the relay checks a new receiver's key for each of so many connections. */
const checks = (connections: number): number => Math.ceil(connections / 6) * 2 + 4

async function login(person: Person): Promise<{ peer: Peer; token: string }> {
  const peer = connect()
  peer.send(`0;${person.line};sign\n`)
  const [, handle, challenge = ''] = (await peer.line()).split(';')
  const answer = Buffer.from(signMessage(person.key, AUTH_NAMESPACE, Buffer.from(challenge, 'base64'))).toString('base64')
  peer.send(`2;${handle};${answer}\n`)
  const [no, token = ''] = (await peer.line()).split(';')
  expect(no).toBe('12')
  return { peer, token }
}

const payloadOf = (n: number, length = 64): string => `${n}`.padStart(8, '0').padEnd(length, 'A')

describe('a turn of the event loop', () => {
  it('ends with one write for each connection, which joins its answers and the messages for it', async () => {
    const bob = createPerson()
    const { peer, token } = await login(bob)
    peer.send(`6;${token}\n`)
    expect(await peer.line()).toBe('16;0')
    const other = await login(createPerson())
    other.peer.send(`3;${other.token};${bob.line};${payloadOf(1)}\n`)
    peer.send('7\n')
    expect([peer.untaken, other.peer.untaken]).toEqual([0, 0])
    peer.stall()
    await settle()
    const [pong, message] = ['17\n', `20;${'0'.repeat(16)};${payloadOf(1)}\n`]
    expect(peer.untaken).toBe(pong.length + message.length)
    expect(other.peer.read()).toEqual([expect.stringMatching(/^13;[0-9a-f]{16};/)])
  })

  it('ends early once 64 connections have something to write', () => {
    const peers = Array.from({ length: 65 }, connect)
    for (const peer of peers.slice(0, 63)) peer.send('7\n')
    expect(peers.filter(({ untaken }) => untaken > 0)).toEqual([])
    peers[63]!.send('7\n')
    expect(peers.filter(({ untaken }) => untaken > 0)).toEqual(peers.slice(0, 64))
    peers[64]!.send('7\n')
    expect(peers[64]!.untaken).toBe(0)
  })
})

describe('many streams', () => {
  it('that prove nothing are closed for newer ones, and logins still work', async () => {
    const strangers: Peer[] = []
    for (let n = 0; n < 10_000; n++) {
      const peer = connect()
      // Send half of a first packet, or nothing.
      if (n % 2 === 0) peer.send('0;ssh-ed25519 AAAA')
      strangers.push(peer)
      if (n % 500 === 0) await settle()
    }
    await settle()
    // The older ones of both kinds were closed.
    const stay = strangers.filter(({ ended }) => !ended)
    expect(stay).toHaveLength(UNPROVEN)
    expect(strangers.indexOf(stay[0]!)).toBeGreaterThan(10_000 - 2 * UNPROVEN)
    const bob = createPerson()
    const { peer, token } = await login(bob)
    peer.send(`3;${token};${bob.line};QUJD\n`)
    expect(await peer.line()).toMatch(/^13;/)
    expect(relay.snapshot()).toMatchObject({ proven: 1, messages: 1 })
  })

  it('that proved a key stay, and a later stream is refused with rate-limited', async () => {
    const { token } = await login(createPerson())
    const proven = Array.from({ length: CONNECTIONS - 1 }, () => {
      const peer = connect()
      peer.send(`5;${token};0000000000000000\n`)
      return peer
    })
    await settle()
    expect(new Set(proven.flatMap((peer) => peer.read()))).toEqual(new Set(['15;0']))
    const late = connect()
    await settle()
    expect(late.read()).toEqual([expect.stringMatching(/^99;rate-limited;/)])
    expect(late.ended).toBe(true)
    expect(relay.snapshot()).toMatchObject({ connections: CONNECTIONS, proven: CONNECTIONS })
  })
})

describe('a login that is under way', () => {
  /** Opens so many connections that send the text, and returns whether a login that was begun before can end. */
  async function survives(count: number, text: string, circuitOf: (n: number) => string | undefined): Promise<boolean> {
    const person = createPerson()
    const peer = connect(circuitOf(0))
    peer.send(`0;${person.line};sign\n`)
    const [, handle, challenge] = (await peer.line()).split(';')
    for (let n = 1; n <= count; n++) {
      connect(circuitOf(n)).send(text)
      if (n % 100 === 0) await settle()
    }
    await settle()
    if (peer.ended) return false
    const signature = signMessage(person.key, AUTH_NAMESPACE, Buffer.from(challenge!, 'base64'))
    peer.send(`2;${handle};${Buffer.from(signature).toString('base64')}\n`)
    return (await peer.line()).startsWith('12;')
  }
  const alone = (n: number): string => (n === 0 ? 'the login' : `${n}`)
  const crowded = (n: number): string => (n === 0 ? 'the login' : `${Math.floor(n / 60)}`)

  it.each<[string, number, string, (n: number) => string | undefined]>([
    ['2,080 silent connections', 2_080, '', () => undefined],
    ['10,000 silent connections, each over a circuit of its own', 10_000, '', alone],
    ['10,000 silent connections over 167 circuits', 10_000, '', crowded],
    ['10,000 connections that ping', 10_000, '7\n', () => undefined],
    ['10,000 connections that send more than a login', 10_000, '7\n'.repeat(300), crowded],
    ['1,900 connections that send more than a login, each over a circuit of its own', 1_900, '7\n'.repeat(300), alone],
  ])('is not ended by %s', async (_what, count, text, circuitOf) => {
    expect(await survives(count, text, circuitOf)).toBe(true)
  })

  it('can begin while connections that sent much keep all places', async () => {
    for (let n = 0; n < UNPROVEN; n++) connect().send('7\n'.repeat(300))
    expect(await survives(500, '7\n'.repeat(300), () => undefined)).toBe(true)
  })

  it('is ended by 2,080 others of the same size, each over a circuit of its own', async () => {
    // What does not hold: a flood that looks like logins, and comes over as many circuits as there are places.
    expect(await survives(2_080, `8;asfaleia/1${'x'.repeat(80)}`, alone)).toBe(false)
  })
})

describe('the connections of one key', () => {
  it('are 16 at most, the newest, and leave the places of others alone', async () => {
    await relay.close()
    relay = new Relay({
      limits: DEFAULT_LIMITS,
      memory: 2 ** 20,
      connections: 300,
      unproven: 300,
      perCircuit: 64,
      perKey: 16,
      perSender: 2 ** 20,
      names: ['localhost'],
      onFault: (error) => faults.push(error),
    })
    const other = await login(createPerson())
    const first = await login(createPerson())
    const greedy: Peer[] = []
    for (let n = 0; n < 1_000; n++) {
      const peer = connect()
      peer.send(`5;${first.token};0000000000000000\n`)
      greedy.push(peer)
      await settle()
    }
    expect(greedy.map(({ ended }) => ended)).toEqual(greedy.map((_, n) => n < 984))
    expect(first.peer.ended).toBe(true)
    other.peer.send('7\n')
    expect(await other.peer.line()).toBe('17')
    expect(relay.snapshot()).toMatchObject({ connections: 17, proven: 17, counters: { turnedAway: { key: 985, connections: 0 } } })
  })
})

describe('senders of single bytes', () => {
  it('delay no other connection, and their packets arrive whole', async () => {
    const bob = createPerson()
    const { peer, token } = await login(bob)
    const senders = Array.from({ length: 100 }, () => connect())
    const packets = senders.map((_, n) => `3;${token};${bob.line};${payloadOf(n)}\n`)
    // Send one byte of each sender in turn; Bob must get an answer at once all the while.
    for (let at = 0; at < packets[0]!.length; at++) {
      senders.forEach((sender, n) => sender.send(packets[n]![at]!))
      if (at % 100 !== 0) continue
      peer.send('7\n')
      expect(await peer.line()).toBe('17')
    }
    await settle(checks(100))
    expect(senders.flatMap((sender) => sender.read()).every((line) => line.startsWith('13;'))).toBe(true)
    peer.send(`4;${token}\n`)
    await settle()
    const [count, ...messages] = peer.read()
    expect(count).toBe('14;100;0')
    expect(messages.map((line) => line.split(';')[2])).toEqual(senders.map((_, n) => payloadOf(n)))
  })

  it('get too-large for an endless line as soon as it exceeds the limit', async () => {
    const peer = connect()
    peer.send('3;'.padEnd(DEFAULT_LIMITS.lineBeforeToken + 1, 'x'), 1)
    await settle()
    expect(peer.read()).toEqual([expect.stringMatching(/^99;too-large;/)])
    expect(peer.ended).toBe(true)
  })
})

describe('peers that pipeline', () => {
  const PINGS = 20_000
  /** The most PINGs that one turn answers. */
  const TURN = 100

  it.each([1, 16, 200])('all at once, %i of them, go on by turns, and an honest peer waits for one turn only', async (count) => {
    const floods = Array.from({ length: count }, () => connect())
    for (const each of floods) each.send('7\n'.repeat(PINGS))
    const honest = connect()
    honest.send('7\n')
    await settle()
    expect(honest.read()).toEqual(['17'])
    const answered = floods.map(() => 0)
    const read = (): void => floods.forEach((each, n) => (answered[n]! += each.read().length))
    read()
    for (const each of answered) expect(each).toBeLessThanOrEqual(2 * TURN)
    for (let turn = 0; turn < 50; turn++) {
      await settle()
      read()
      // At most eight of them went on in this turn, and none is more than a turn ahead of another.
      expect(Math.max(...answered) - Math.min(...answered)).toBeLessThanOrEqual(2 * TURN)
    }
    expect(answered.reduce((sum, each) => sum + each)).toBeLessThanOrEqual(count * TURN + 52 * 8 * TURN)
    honest.send('7\n')
    await settle()
    expect(honest.read()).toEqual(['17'])
  })

  it('get every answer in the end', async () => {
    const floods = Array.from({ length: 3 }, () => connect())
    for (const each of floods) each.send('7\n'.repeat(PINGS / 10))
    const answers = floods.map(() => 0)
    while (answers.some((count) => count < PINGS / 10)) {
      await settle()
      floods.forEach((each, n) => (answers[n]! += each.read().length))
    }
    expect(answers).toEqual(Array(3).fill(PINGS / 10))
  })

  it('and hang up are forgotten, and those behind them go on', async () => {
    const floods = Array.from({ length: 40 }, () => connect())
    for (const each of floods) each.send('7\n'.repeat(PINGS / 10))
    await settle()
    for (const each of floods.slice(0, 39)) each.hangUp()
    let answers = floods[39]!.read().length
    for (let turn = 0; turn < 60; turn++) {
      await settle()
      answers += floods[39]!.read().length
    }
    expect(answers).toBe(PINGS / 10)
  })
})

describe('readers that stall', () => {
  it('make the relay buffer a bounded amount each, and no message is lost', async () => {
    const [alice, bob] = [createPerson(), createPerson()]
    const [sender, reader] = [await login(alice), await login(bob)]
    const others = Array.from({ length: 50 }, () => connect())
    for (const each of [reader.peer, ...others]) {
      each.stall()
      // Request the waiting messages again and again without reading the answers.
      each.send(`4;${reader.token};lease\n`)
    }
    const sent = Array.from({ length: DEFAULT_LIMITS.mailboxMessages }, (_, n) => payloadOf(n, DEFAULT_LIMITS.payload))
    for (const payload of sent) {
      sender.peer.send(`3;${sender.token};${bob.line};${payload}\n`)
      expect(await sender.peer.line()).toMatch(/^13;/)
    }
    for (const each of others) {
      each.send(`6;${reader.token}\n`)
      for (let n = 0; n < 100; n++) each.send(`4;${reader.token};lease\n7\n`)
    }
    await settle()
    for (const each of [reader.peer, ...others]) {
      expect(each.untaken).toBeGreaterThan(0)
      expect(each.untaken).toBeLessThan(OUTPUT_MOST)
    }
    sender.peer.send('7\n')
    expect(await sender.peer.line()).toBe('17')
    // After they hang up, their leased messages wait again at their places.
    for (const each of [reader.peer, ...others]) each.hangUp()
    const again = connect()
    const got: string[] = []
    while (got.length < sent.length) {
      again.send(`4;${reader.token}\n`)
      await settle()
      got.push(
        ...again
          .read()
          .filter((line) => line.startsWith('20;'))
          .map((line) => line.split(';')[2]!),
      )
    }
    expect(got).toEqual(sent)
    expect(relay.snapshot().messages).toBe(0)
  })
})

describe('all buffers of the relay', () => {
  it('have one budget: of readers that stall, those give way that have taken nothing for the longest time', async () => {
    const [alice, bob] = [createPerson(), createPerson()]
    const [sender, reader] = [await login(alice), await login(bob)]
    for (let n = 0; n < 8; n++) {
      sender.peer.send(`3;${sender.token};${bob.line};${payloadOf(n, 8_000)}\n`)
      expect(await sender.peer.line()).toMatch(/^13;/)
    }
    // Each takes the subscription over, and with it the messages, and reads none of them.
    const count = Math.ceil(TRAFFIC_BYTES / 98_304) + 40
    const stalled: Peer[] = []
    const honest = await login(createPerson())
    for (let n = 0; n < count; n++) {
      const peer = connect()
      peer.stall()
      peer.send(`6;${reader.token}\n`)
      stalled.push(peer)
      await settle()
      honest.peer.send('7\n')
      await settle()
      expect(honest.peer.read()).toEqual(['17'])
    }
    const ended = stalled.filter(({ ended }) => ended)
    expect(ended.length).toBeGreaterThanOrEqual(40)
    expect(ended.length).toBeLessThanOrEqual(50)
    expect(stalled.slice(0, ended.length)).toEqual(ended)
    expect(honest.peer.ended).toBe(false)
    expect(relay.snapshot().counters.turnedAway['gave-way']).toBe(ended.length)
    // No message is lost.
    for (const each of stalled) each.hangUp()
    const again = connect()
    again.send(`4;${reader.token};lease\n`)
    await settle(3)
    expect(again.read()[0]).toBe('14;8;0')
  })
})

describe('one mailbox that 500 senders fill', () => {
  it('accepts its quota, refuses the rest with mailbox-full, and delivers every accepted message', async () => {
    const bob = createPerson()
    const { peer, token } = await login(bob)
    const senders = Array.from({ length: 500 }, () => connect())
    senders.forEach((sender, n) =>
      sender.send(Array.from({ length: 4 }, (_, i) => `3;${token};${bob.line};${payloadOf(n * 4 + i)}\n`).join('')),
    )
    await settle(checks(500))
    const answers = senders.flatMap((sender) => sender.read().map((line) => (line.startsWith('13;') ? 'SENT' : line.split(';')[1]!)))
    expect(answers).toHaveLength(2_000)
    const accepted = answers.flatMap((answer, n) => (answer === 'SENT' ? [payloadOf(n)] : []))
    expect(accepted).toHaveLength(DEFAULT_LIMITS.mailboxMessages)
    expect(new Set(answers)).toEqual(new Set(['SENT', 'mailbox-full']))
    peer.send(`4;${token}\n`)
    await settle()
    expect(
      peer
        .read()
        .slice(1)
        .map((line) => line.split(';')[2]),
    ).toEqual(accepted)
  })
})

describe('payloads', () => {
  it.each([4, 8, 12, 16, 1_020, 1_024, 1_028, 16_384, 32_760, 32_764, 32_768])(
    'of %i characters are delivered unchanged',
    async (length) => {
      const bob = createPerson()
      const { peer, token } = await login(bob)
      const payload = payloadOf(7, length).slice(0, length)
      peer.send(`3;${token};${bob.line};${payload}\n`.repeat(3), 999)
      await settle(checks(1))
      expect(peer.read().map((line) => line.slice(0, 3))).toEqual(['13;', '13;', '13;'])
      peer.send(`4;${token}\n`)
      await settle()
      expect(
        peer
          .read()
          .slice(1)
          .map((line) => line.split(';')[2]),
      ).toEqual([payload, payload, payload])
    },
  )

  it('over the limit are refused', async () => {
    const bob = createPerson()
    const { peer, token } = await login(bob)
    peer.send(`3;${token};${bob.line};${'A'.repeat(DEFAULT_LIMITS.payload + 4)}\n`)
    expect(await peer.line()).toMatch(/^99;too-large;/)
  })
})

describe('100,000 mailboxes with a message each', () => {
  const MAILBOXES = 100_000
  const payload = Buffer.alloc(64, 'A')
  const cost = MAILBOX_BYTES + MESSAGE_BYTES + footprint(payload.length)

  it('count against the budget, are delivered one by one, and are forgotten once empty', () => {
    const mailboxes = new MemoryMailboxes({ limits: DEFAULT_LIMITS, budget: MAILBOXES * cost, randomBytes })
    let refused = 0
    for (let n = 0; n < MAILBOXES; n++) if ('refused' in mailboxes.put(`mailbox ${n}`, payload, 0)) refused++
    expect(refused).toBe(0)
    expect(mailboxes.size).toMatchObject({ mailboxes: MAILBOXES, messages: MAILBOXES, bytes: MAILBOXES * cost })
    expect(mailboxes.put('one more', payload, 0)).toEqual({ refused: 'relay-full' })
    let taken = 0
    const references = new Float64Array(9)
    for (let n = 0; n < MAILBOXES; n++) {
      const count = mailboxes.take(`mailbox ${n}`, 1, { lease: 'plain', bytes: 9_999 }, 0, references)
      taken += count
      for (const reference of references.subarray(0, count)) mailboxes.taken(reference, 1)
    }
    expect(taken).toBe(MAILBOXES)
    expect(mailboxes.size).toMatchObject({ mailboxes: 0, messages: 0, bytes: 0 })
  })
})

describe('claims, which cost nothing,', () => {
  let now: number
  const MEMORY = 2 ** 22

  beforeEach(async () => {
    await relay.close()
    now = 0
    relay = new Relay({
      limits: DEFAULT_LIMITS,
      memory: MEMORY,
      connections: 200,
      unproven: 100,
      perCircuit: 64,
      perKey: 16,
      perSender: 2 ** 20,
      names: ['localhost'],
      now: () => now,
      onFault: (error) => faults.push(error),
    })
  })

  const secretOf = (name: string): Buffer => createHash('sha256').update(name).digest()
  const show = (name: string, label = ''): string => `34;${secretOf(name).toString('base64url')};${label}\n`
  const addressOf = (name: string): string => `SHA256:${createHash('sha256').update(secretOf(name)).digest('base64').replace('=', '')}`
  const codes = (lines: readonly string[]): string[] =>
    lines.map((line) =>
      line
        .split(';')
        .slice(0, line.startsWith('99') ? 2 : 1)
        .join(';'),
    )

  it('cannot close the mailbox of a claim that was read before: only half of the memory fills with messages to others', async () => {
    const subscribe = async (): Promise<Peer> => {
      const reader = connect('reader')
      reader.send(`${show('address', 'a')}6;a\n`)
      await settle()
      expect(codes(reader.read())).toEqual(['12', '16'])
      return reader
    }
    await subscribe()
    now = 3_600_000
    relay.tick()
    const reader = await subscribe()
    const answers = new Set<string>()
    // Each circuit is another attacker, who takes a new secret for each mailbox that it fills.
    for (let circuit = 0; circuit < 40; circuit++) {
      const attacker = connect(`attacker ${circuit}`)
      for (let n = 0; n < 8; n++) {
        attacker.send(`${show(`courier ${circuit} ${n}`)}${`3;;${addressOf(`box ${circuit} ${n}`)};${'A'.repeat(8_000)}\n`.repeat(8)}`)
        await settle()
        for (const code of codes(attacker.read())) answers.add(code)
      }
      attacker.hangUp()
    }
    expect(answers).toContain('99;relay-full')
    expect(relay.snapshot().messageBytes).toBeLessThanOrEqual(MEMORY / 2)
    const courier = connect('courier')
    courier.send(`${show('courier')}3;;${addressOf('address')};QUJD\n3;;${addressOf('other')};${'A'.repeat(8_000)}\n`)
    await settle()
    expect(codes(courier.read())).toEqual(['12', '13', '99;relay-full'])
    expect(codes(reader.read())).toEqual(['21'])
  })

  it('cannot send more over one connection or circuit than one sender, however many there are', async () => {
    const attacker = connect('attacker')
    let stored = 0
    for (let n = 0; n < 60; n++) {
      attacker.send(`${show(`courier ${n}`)}${`3;;${addressOf(`box ${n}`)};${'A'.repeat(8_000)}\n`.repeat(4)}`)
      await settle()
      stored += codes(attacker.read()).filter((code) => code === '13').length
    }
    expect(stored).toBe(Math.floor(2 ** 20 / 8_000))
  })

  it('cannot take more than a quarter of the memory with labels and empty subscriptions, and no places of other circuits', async () => {
    const honest = connect('honest')
    honest.send(show('honest'))
    await settle()
    const attackers: Peer[] = []
    for (let n = 0; n < 199; n++) {
      attackers.push(connect(`circuit ${n % 8}`))
      attackers[n]!.send(show(`base ${n}`))
      await settle()
    }
    for (const [n, attacker] of attackers.entries()) {
      attacker.send(Array.from({ length: 64 }, (_, label) => `${show(`box ${n} ${label}`, `l${label}`)}6;l${label}\n`).join(''))
      await settle()
    }
    expect(relay.snapshot().messageBytes).toBeLessThanOrEqual(MEMORY / 4)
    // Claims without a label, and messages, go on.
    honest.send(`6;\n3;;${addressOf('honest')};${'A'.repeat(32_000)}\n`)
    await settle()
    expect(codes(honest.read())).toEqual(['12', '99;relay-full', '13'])
    // All places are taken: one of the largest circuits gives way to each new connection.
    const news = Array.from({ length: 20 }, (_, n) => connect(`new ${n}`))
    for (const peer of news) peer.send('7\n')
    await settle()
    expect(news.map((peer) => peer.read())).toEqual(news.map(() => ['17']))
    expect(attackers.filter(({ ended }) => ended)).toHaveLength(20)
    expect([honest.ended, relay.snapshot().counters.turnedAway['gave-way']]).toEqual([false, 20])
  })
})

describe('garbage of connections that ended', () => {
  let now: number
  let collected: string[]

  beforeEach(async () => {
    await relay.close()
    ;[now, collected] = [0, []]
    relay = new Relay({
      limits: DEFAULT_LIMITS,
      memory: 2 ** 20,
      connections: 9,
      unproven: 9,
      perCircuit: 9,
      perKey: 9,
      perSender: 2 ** 20,
      names: ['localhost'],
      now: () => now,
      collect: (what) => collected.push(`${what} at ${now / 1_000}`),
      onFault: (error) => faults.push(error),
    })
  })

  function pass(seconds: number, each: () => void = () => {}): void {
    for (let n = 0; n < seconds; n++) {
      now += 1_000
      each()
      relay.tick()
    }
  }

  it('is collected once, two idle seconds after the last one ended', () => {
    const [first, second] = [connect(), connect()]
    pass(20)
    expect(collected).toEqual([])
    first.hangUp()
    pass(1)
    second.hangUp()
    pass(20)
    expect(collected).toEqual(['all at 23'])
  })

  it('is collected every eight seconds at most, of young objects only, while other connections are busy', () => {
    const busy = connect()
    connect().hangUp()
    pass(30, () => busy.send('7\n'))
    expect(collected).toEqual(['young at 8'])
    pass(16, () => {
      busy.send('7\n')
      connect().hangUp()
    })
    expect(collected).toEqual(['young at 8', 'young at 39'])
  })

  it('is collected whole once the busy connections rest', () => {
    const busy = connect()
    connect().hangUp()
    pass(5, () => busy.send('7\n'))
    pass(20)
    expect(collected).toEqual(['all at 6'])
  })

  it('is collected whole every five minutes if connections end all the time', () => {
    const busy = connect()
    pass(900, () => {
      busy.send('7\n')
      connect().hangUp()
    })
    const whole = collected.filter((each) => each.startsWith('all')).map((each) => Number(each.slice('all at '.length)))
    expect(whole).toHaveLength(2)
    expect(whole[0]).toBeGreaterThanOrEqual(301)
    expect(whole[0]).toBeLessThan(310)
    expect(whole[1]! - whole[0]!).toBeGreaterThanOrEqual(300)
    expect(whole[1]! - whole[0]!).toBeLessThan(310)
  })
})
