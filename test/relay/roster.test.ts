/** The rights of keys on the operator's list, and of strangers, over connections to a relay. */
import { createSecretKey, randomBytes } from 'node:crypto'
import { describe, expect, it, onTestFinished } from 'vitest'
import { parsePublicKey } from '../../src/auth/ssh-key.ts'
import { AUTH_NAMESPACE } from '../../src/auth/sshsig.ts'
import { Prover } from '../../src/relay/prover.ts'
import { type Member, Roster } from '../../src/relay/roster.ts'
import { makeFidoKey } from '../auth/openssh.ts'
import { startTestRelay, type TestRelay, type TestRelayOptions } from '../support/relay.ts'
import { connectRaw, createPerson, type Person, type Wire } from '../support/wire.ts'

const [alice, bob, eve] = [createPerson(), createPerson(), createPerson()]
const PAYLOAD = Buffer.alloc(4_096).toString('base64')

const member = ({ line }: Person, more: Omit<Member, 'fingerprint'> = {}): Member => ({
  fingerprint: parsePublicKey(line).fingerprint,
  ...more,
})

async function start(options: TestRelayOptions): Promise<TestRelay> {
  const relay = await startTestRelay(options)
  onTestFinished(() => relay.close())
  return relay
}

interface Seat extends Wire {
  readonly token: string
  sendTo(receiver: Person): Promise<string>
}

async function seat({ port }: TestRelay, person: Person): Promise<Seat> {
  const wire = await connectRaw({ kind: 'tcp', host: '127.0.0.1', port })
  const token = await wire.login(person, 'sign')
  return { ...wire, token, sendTo: (receiver) => wire.ask(`3;${token};${receiver.line};${PAYLOAD}`) }
}

describe('a key on the list', () => {
  it('that may only send has no mailbox', async () => {
    const relay = await start({ admit: [member(alice, { only: 'send' }), member(bob)] })
    const [a, b] = [await seat(relay, alice), await seat(relay, bob)]
    expect(await a.sendTo(bob)).toMatch(/^13;/)
    for (const packet of [`4;${a.token}`, `6;${a.token}`, `9;${a.token}`, `5;${a.token};0123456789abcdef`]) {
      expect([packet[0], await a.ask(packet)]).toEqual([packet[0], expect.stringMatching(/^99;denied;/)])
    }
    expect(await b.sendTo(alice)).toMatch(/^99;denied;/)
  })

  it('that may only receive may not send', async () => {
    const relay = await start({ admit: [member(alice, { only: 'receive' }), member(bob)] })
    const [a, b] = [await seat(relay, alice), await seat(relay, bob)]
    expect(await a.sendTo(bob)).toMatch(/^99;denied;/)
    expect(await b.sendTo(alice)).toMatch(/^13;/)
    expect(await a.ask(`6;${a.token}`)).toBe('16;1')
  })

  it('has its own size of mailbox and its own sending limit', async () => {
    const admit = [member(alice, { places: 2 }), member(bob, { perSender: 6_000 })]
    const relay = await start({ admit, limits: { mailboxMessages: 9 } })
    const [a, b] = [await seat(relay, alice), await seat(relay, bob)]
    for (const expected of [/^13;/, /^13;/, /^99;mailbox-full;/]) expect(await a.sendTo(alice)).toMatch(expected)
    for (const expected of [/^13;/, /^99;rate-limited;/]) expect(await b.sendTo(bob)).toMatch(expected)
    // A larger limit keeps what is used.
    relay.relay.admit([member(bob, { perSender: 12_000 })])
    for (const expected of [/^13;/, /^99;rate-limited;/]) expect(await b.sendTo(bob)).toMatch(expected)
  })

  it('is ended at its time: connections, tokens and mailbox', async () => {
    let now = 1_000_000
    const relay = await start({ admit: [member(alice, { expires: 1_060_000 }), member(bob)], now: () => now })
    const [a, b] = [await seat(relay, alice), await seat(relay, bob)]
    expect(await b.sendTo(alice)).toMatch(/^13;/)
    now = 1_059_999
    relay.relay.tick()
    expect(await a.ask('7')).toBe('17')
    expect(relay.relay.snapshot().messages).toBe(1)
    now = 1_060_000
    relay.relay.tick()
    expect(await a.line()).toMatch(/^99;denied;/)
    expect(await a.line()).toBeUndefined()
    expect(relay.relay.snapshot().messages).toBe(0)
    expect(await b.sendTo(alice)).toMatch(/^99;denied;/)
    await expect(seat(relay, alice)).rejects.toThrow('99;denied;')
  })

  it('that lost its mailbox is disconnected if it reads one', async () => {
    const relay = await start({ admit: [member(alice)] })
    const [reader, other] = [await seat(relay, alice), await seat(relay, alice)]
    expect(await reader.ask(`6;${reader.token}`)).toBe('16;0')
    relay.relay.admit([member(alice, { only: 'send' })])
    expect(await reader.line()).toMatch(/^99;denied;/)
    expect(await other.ask('7')).toBe('17')
  })

  it('that is removed during a handover keeps its mailbox until the relay goes on', async () => {
    const relay = await start({ admit: [member(alice), member(bob)] })
    const b = await seat(relay, bob)
    expect(await b.sendTo(alice)).toMatch(/^13;/)
    await relay.relay.suspend()
    relay.relay.admit([member(bob)])
    expect(relay.relay.snapshot().messages).toBe(1)
    relay.relay.resume()
    expect(relay.relay.snapshot().messages).toBe(0)
  })

  it('with verify-required logs in only if the FIDO key verified its user', async () => {
    const fido = makeFidoKey('ed25519')
    for (const [mustVerify, flags, expected] of [
      [false, 1, true],
      [true, 1, false],
      [true, 5, true],
    ] as const) {
      const prover = new Prover(createSecretKey(randomBytes(32)), () => mustVerify)
      const result = await prover.challenge(Buffer.from(fido.line), true, { relay: 'localhost', ...prover.drawChallenge() })
      if ('refused' in result) throw new Error(result.refused)
      const answer = fido.sign(AUTH_NAMESPACE, Buffer.from(result.challenge, 'base64'), flags).toString('base64')
      expect([flags, await prover.verify(result.proof, Buffer.from(answer))]).toEqual([flags, expected])
    }
  })
})

describe('a stranger', () => {
  it('may not log in by default', async () => {
    const relay = await start({ admit: [member(alice)] })
    await expect(seat(relay, eve)).rejects.toThrow('99;denied;')
  })

  it('may send to members, who alone receive', async () => {
    const relay = await start({ admit: [member(alice), member(bob, { only: 'send' })], strangers: 'send' })
    const e = await seat(relay, eve)
    expect(await e.sendTo(alice)).toMatch(/^13;/)
    for (const receiver of [eve, bob]) expect(await e.sendTo(receiver)).toMatch(/^99;denied;/)
    for (const packet of [`4;${e.token}`, `6;${e.token}`]) expect(await e.ask(packet)).toMatch(/^99;denied;/)
  })

  it('gets 32 places of a mailbox; the rest is for members', async () => {
    const relay = await start({ admit: [member(alice), member(bob)], strangers: 'send', memory: 2 ** 23 })
    const [a, b, e] = [await seat(relay, alice), await seat(relay, bob), await seat(relay, eve)]
    for (let n = 0; n < 32; n++) expect(await e.sendTo(alice)).toMatch(/^13;/)
    expect(await e.sendTo(alice)).toMatch(/^99;mailbox-full;/)
    expect(await b.sendTo(alice)).toMatch(/^13;/)
    // Erased messages free their places.
    expect(await a.ask(`9;${a.token}`)).toBe('19;33')
    expect(await e.sendTo(alice)).toMatch(/^13;/)
  })

  it('shares an eighth of the memory with all other strangers', async () => {
    const relay = await start({ admit: [member(alice), member(bob)], strangers: 'send', memory: 8 * 20_000 })
    const [b, e] = [await seat(relay, bob), await seat(relay, eve)]
    for (const expected of [/^13;/, /^13;/, /^13;/, /^99;relay-full;/]) expect(await e.sendTo(alice)).toMatch(expected)
    expect(await (await seat(relay, createPerson())).sendTo(alice)).toMatch(/^99;relay-full;/)
    expect(await b.sendTo(alice)).toMatch(/^13;/)
  })

  it('shares an eighth of the connections: the oldest of them gives way to the next', async () => {
    const relay = await start({ admit: [member(alice)], strangers: 'send', connections: 16 })
    const [first, second] = [await seat(relay, eve), await seat(relay, createPerson())]
    const a = await seat(relay, alice)
    const third = await seat(relay, createPerson())
    expect(await first.line()).toBeUndefined()
    for (const wire of [second, third, a]) expect(await wire.ask('7')).toBe('17')
  })
})

describe('a roster', () => {
  const roster = (members: readonly Member[] | undefined, strangers: 'off' | 'send' = 'off', now = 0): Roster =>
    new Roster(members, strangers, (fingerprint) => Buffer.from(fingerprint).toString(), now)
  const key = (name: string, more: Omit<Member, 'fingerprint'> = {}): Member => ({ fingerprint: Buffer.from(name), ...more })

  it('without a list gives every key all rights', () => {
    const all = roster(undefined)
    expect([all.admits('x'), all.sends('x'), all.receives('x'), all.isStranger('x'), all.until]).toEqual([
      true,
      true,
      true,
      false,
      Infinity,
    ])
  })

  it('names the time of the next expiry, and leaves out keys that have expired', () => {
    const keys = [key('a', { expires: 5 }), key('b', { expires: 7 }), key('c')]
    expect([roster(keys).until, roster(keys, 'off', 5).until, roster(keys, 'off', 7).until]).toEqual([5, 7, Infinity])
    expect(['a', 'b', 'c'].map((each) => roster(keys, 'off', 5).admits(each))).toEqual([false, true, true])
  })

  it('gives a stranger the right to send only if the operator lets strangers in', () => {
    expect([roster([]).admits('x'), roster([]).sends('x')]).toEqual([false, false])
    const open = roster([], 'send')
    expect([open.admits('x'), open.sends('x'), open.receives('x'), open.isStranger('x')]).toEqual([true, true, false, true])
  })
})
