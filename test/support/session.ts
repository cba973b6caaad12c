/**
 * A session with real mailboxes and the test's own time, keys and proofs: text goes in, and a list of lines
 * comes out. The test settles proofs at once or on demand.
 */
import { randomBytes } from 'node:crypto'
import { MemoryMailboxes } from '../../src/mailbox/mailbox.ts'
import { ProtocolError } from '../../src/protocol/errors.ts'
import { DEFAULT_LIMITS, type Limits } from '../../src/protocol/limits.ts'
import { Stock } from '../../src/protocol/output.ts'
import type { Effect, Ports, Proof } from '../../src/protocol/ports.ts'
import { RelaySession } from '../../src/protocol/relay-session.ts'
import { decodeFrames } from './frames.ts'

export interface World {
  now: number
  names: string[]
  /** Names that are being replaced, and their replacements. */
  moved: Record<string, string>
  admitted: (mailbox: string) => boolean
  /** Keys that may only send, or only receive. */
  readonly roles: Record<string, 'send' | 'receive'>
  readonly strangers: Set<string>
  loginWait: number
  sendWait: number
  memoryShare: number
  /** The bytes that each SEND was charged. */
  readonly charged: number[]
  /** Whether the relay has no time to check a receiver's key. */
  busy: boolean
  /** Whether proofs and checks are settled at once. */
  eager: boolean
  /** Whether a session that has used up its turn goes on at once. */
  restless: boolean
  readonly limits: Limits
  readonly mailboxes: MemoryMailboxes
  readonly counts: string[]
  /** How often receivers' keys were named, checked and erased. */
  readonly keys: string[]
  open(framing?: 'line' | 'message'): Peer
}

/** A key is `key-NAME`, a secret `secret-NAME`, its mailbox NAME, its challenge `?NAME`, and the right answer `!NAME`. */
export interface Peer {
  readonly session: RelaySession
  /** Feeds bytes and returns the lines written since; an `end` or `destroy` appears as `<end>` or `<destroy>`. */
  say(text: string): string[]
  feed(chunks: Uint8Array[]): string[]
  tick(): string[]
  finish(): string[]
  hangUp(): void
  /** Returns the lines written since the last read. */
  read(): string[]
  /** Stops reading until `drain`. */
  stall(): void
  drain(): string[]
  /** Settles the pending proofs. */
  settle(): string[]
  /** Gives the session a turn, if it has used up the last one. */
  turn(): string[]
  /** Proves `key-NAME` and returns the token. */
  login(name: string): string
}

export function createWorld(limits: Partial<Limits> = {}, budget = 1e6): World {
  let owners = 0
  let handles = 100
  const awake = new Map<RelaySession, () => void>()
  const world: World = {
    now: 1_000_000,
    names: ['localhost'],
    moved: {},
    admitted: () => true,
    roles: {},
    strangers: new Set(),
    loginWait: 0,
    sendWait: 0,
    memoryShare: 1,
    charged: [],
    busy: false,
    eager: true,
    restless: true,
    limits: { ...DEFAULT_LIMITS, ...limits },
    mailboxes: new MemoryMailboxes({ limits: { ...DEFAULT_LIMITS, ...limits }, budget, randomBytes }),
    counts: [],
    keys: [],
    open,
  }
  const ports: Ports = {
    limits: world.limits,
    stock: new Stock(),
    mailboxes: world.mailboxes,
    names: () => world.names,
    movedTo: (name) => world.moved[name],
    admits: (mailbox) => world.admitted(mailbox),
    sends: (mailbox) => world.roles[mailbox] !== 'receive',
    receives: (mailbox) => world.admitted(mailbox) && world.roles[mailbox] !== 'send',
    isStranger: (mailbox) => world.strangers.has(mailbox),
    places: () => world.limits.mailboxMessages,
    receiver(field) {
      const text = Buffer.from(field).toString('latin1')
      if (!text.startsWith('key-')) throw new ProtocolError('bad-key')
      // A comment may follow.
      const mailbox = text.slice(4).split(' ')[0]!
      world.keys.push(`name ${mailbox}`)
      return { mailbox, unchecked: { isSound: () => !mailbox.startsWith('off-curve'), erase: () => world.keys.push(`erase ${mailbox}`) } }
    },
    claim(secret) {
      return /^secret-([a-z0-9]+)$/.exec(Buffer.from(secret).toString('latin1'))?.[1]
    },
    issueToken: ({ mailbox, isClaim }, audience, now) =>
      `token/${mailbox}/${audience}/${now + world.limits.tokenSeconds * 1_000}${isClaim ? '/claim' : ''}`,
    verifyToken(token) {
      world.counts.push('verify-token')
      const [word, mailbox, audience, expires, claim] = Buffer.from(token).toString('latin1').split('/')
      const good = word === 'token' && world.names.includes(audience!) && Number(expires) > world.now
      return good ? { mailbox: mailbox!, expires: Number(expires), isClaim: claim === 'claim' } : undefined
    },
    drawChallenge: () => ({ handle: String(handles++), nonce: 'n'.repeat(43) }),
    count: (what) => world.counts.push(typeof what === 'object' ? `refused ${what.refused}` : what),
  }

  function wakeAll(): void {
    while (awake.size > 0) {
      const calls = [...awake.values()]
      awake.clear()
      for (const call of calls) call()
    }
  }

  function open(framing: 'line' | 'message' = 'line'): Peer {
    let written: string[] = []
    let stalled = false
    let pending: (() => readonly Effect[])[] = []
    const held: Uint8Array[] = []
    let settling = false
    let turning = false
    const owner = ++owners
    const wake = (): void => {
      awake.set(session, () => perform(session.onNews(world.now)))
    }
    const session = new RelaySession({
      ports,
      rates: {
        loginWait() {
          world.counts.push('try')
          return world.loginWait
        },
        sendWait: (_sender, bytes) => {
          world.charged.push(bytes)
          return world.sendWait
        },
        memoryShare: () => world.memoryShare,
        onProven: () => {},
        onReading: () => {},
      },
      framing,
      reader: { owner, wake },
      now: world.now,
    })
    const deliver = (bytes: Uint8Array): void => {
      if (framing === 'line') written.push(...Buffer.from(bytes).toString('latin1').split('\n').slice(0, -1))
      else written.push(...decodeFrames(bytes).frames.map(({ payload }) => payload.toString('latin1')))
      perform(session.onWritten(world.now))
    }
    function flush(): void {
      const bytes = session.flush(world.now)
      if (bytes === undefined) return
      if (!stalled) return deliver(bytes)
      held.push(bytes)
      perform(session.onWriting(world.now))
    }
    function perform(effects: readonly Effect[]): void {
      for (const effect of effects) {
        switch (effect.kind) {
          case 'challenge': {
            const name = Buffer.from(effect.key).toString('latin1')
            const proof: Proof = { method: effect.sign ? 'sign' : 'decrypt', mailbox: name.slice(4).split(' ')[0]! }
            const { relay } = effect.challenge
            pending.push(() =>
              name.startsWith('key-')
                ? session.onChallenged({ proof, challenge: `?${proof.mailbox}@${relay}` }, world.now)
                : session.onChallenged({ refused: 'bad-key' }, world.now),
            )
            break
          }
          case 'verify': {
            const good = effect.proof !== undefined && Buffer.from(effect.answer).toString('latin1') === `!${effect.proof.mailbox}`
            pending.push(() => session.onVerified(good, world.now))
            break
          }
          case 'receiver': {
            world.keys.push('check')
            const outcome = world.busy ? 'busy' : effect.key.isSound() ? 'sound' : 'bad-key'
            pending.push(() => session.onReceiver(outcome, world.now))
            break
          }
          case 'proven':
            break
          case 'end':
          case 'destroy':
            written.push(`<${effect.kind}>`)
            break
        }
      }
      flush()
      // Loops, because a chain of packets may be longer than the stack is deep.
      if (world.eager && !settling) {
        settling = true
        while (pending.length > 0) settle()
        settling = false
      }
      if (world.restless && !turning) {
        turning = true
        while (session.isResting) perform(session.onTurn(world.now))
        turning = false
      }
    }
    function settle(): void {
      const results = pending
      pending = []
      for (const result of results) perform(result())
    }
    const peer: Peer = {
      session,
      say: (text) => peer.feed([new Uint8Array(Buffer.from(text, 'latin1'))]),
      feed(chunks) {
        for (const chunk of chunks) {
          perform(session.onChunk(chunk, world.now))
          wakeAll()
        }
        return peer.read()
      },
      tick() {
        perform(session.onTime(world.now))
        return peer.read()
      },
      finish() {
        perform(session.onFinish(world.now))
        return peer.read()
      },
      hangUp() {
        session.onEnd()
        wakeAll()
      },
      read() {
        wakeAll()
        const lines = written
        written = []
        return lines
      },
      stall: () => {
        stalled = true
      },
      drain() {
        stalled = false
        for (const bytes of held.splice(0)) deliver(bytes)
        return peer.read()
      },
      settle() {
        settle()
        return peer.read()
      },
      turn() {
        if (session.isResting) perform(session.onTurn(world.now))
        return peer.read()
      },
      login(name) {
        const [challenge] = peer.say(`0;key-${name}\n`)
        const [token] = peer.say(`2;${challenge!.split(';')[1]};!${name}\n`)
        return token!.split(';')[1]!
      },
    }
    return peer
  }
  return world
}
