/**
 * The chat's state machine under test: keys and messages go in, the screen as text and the effects come out;
 * time runs by the minute.
 */
import type { Delivery, Protection } from '../../src/wording/delivery.ts'
import { KeyDecoder } from '../../src/cli/chat/keys.ts'
import type { Arrival, Effect, Input, Party } from '../../src/cli/chat/input.ts'
import { update } from '../../src/cli/chat/model.ts'
import { initialState, type State } from '../../src/cli/chat/state.ts'
import { type Frame, plainText, view } from '../../src/cli/chat/view.ts'

export const BOB = 'SHA256:bob'
export const CAROL = 'SHA256:carol'
export const TEA = 'group:tea'
/** 2026-11-26, 12:00 local time. */
const NOON = new Date(2026, 10, 26, 12).getTime()

export const PARTIES: readonly Party[] = [
  { id: BOB, kind: 'contact', name: 'bob', verified: true },
  { id: CAROL, kind: 'contact', name: 'carol' },
  { id: TEA, kind: 'group', name: 'tea', members: ['alice', 'bob', 'carol'] },
]

export class TestChat {
  state: State
  readonly effects: Effect[] = []
  now = NOON
  readonly #decoder = new KeyDecoder()
  #ticket = 0

  constructor(options: { rows?: number; columns?: number; ascii?: boolean; parties?: readonly Party[]; receipts?: boolean } = {}) {
    const { rows = 12, columns = 60, ascii = false, parties = PARTIES, receipts = false } = options
    this.state = initialState({ me: 'alice', look: { ascii }, size: { rows, columns }, receipts })
    this.put({ kind: 'people', parties })
    this.put({ kind: 'relay', relay: { relay: 'relay.onion', state: 'up' } })
  }

  put(input: Input): readonly Effect[] {
    const { state, effects } = update(this.state, input, this.now)
    this.state = state
    this.effects.push(...effects)
    return effects
  }

  /** Types bytes as a terminal sends them: text and sequences. A lone Esc is a separate `\u{1b}`. */
  type(bytes: string): this {
    for (const input of [...this.#decoder.push(Buffer.from(bytes)), ...this.#decoder.flush()]) this.put(input)
    return this
  }

  /** Delivers a message, from bob by default. @returns its ticket */
  arrive(arrival: Partial<Arrival> = {}): number {
    this.#ticket++
    const from = {
      conversation: BOB,
      author: 'bob',
      fingerprint: BOB,
      id: `came-${this.#ticket}`,
      at: this.now,
      verdict: 'genuine',
      text: 'hello',
    } as const
    this.put({ kind: 'arrival', arrival: { ...from, ticket: this.#ticket, ...arrival } })
    return this.#ticket
  }

  /** Sends a line and returns its delivery. */
  say(text: string, member = BOB): Delivery {
    this.type(`${text}\r`)
    const sent = this.effects.findLast((effect) => effect.kind === 'send')
    if (sent?.kind !== 'send') throw new Error('nothing was sent')
    const delivery: Delivery = { id: `sent-${sent.key}`, member, to: 'bob', state: 'waiting' }
    this.put({ kind: 'sent', key: sent.key, deliveries: [delivery] })
    return delivery
  }

  deliver({ id }: Delivery, state: Delivery['state'], why?: string, protection?: Protection): this {
    this.put({ kind: 'delivery', id, state, ...(why !== undefined && { why }), ...(protection !== undefined && { protection }) })
    return this
  }

  frame(): Frame {
    return view(this.state)
  }

  /** Reports what is drawn, as the session does. @returns the screen as text */
  draw(): string {
    const frame = this.frame()
    this.put({ kind: 'drawn', keys: frame.drawn })
    return plainText(frame)
  }

  resize(rows: number, columns: number): this {
    this.put({ kind: 'resize', size: { rows, columns } })
    return this
  }

  /** Returns the effects of one kind, in order. */
  did<Kind extends Effect['kind']>(kind: Kind): Extract<Effect, { kind: Kind }>[] {
    return this.effects.filter((effect): effect is Extract<Effect, { kind: Kind }> => effect.kind === kind)
  }
}
