/** Shared by the parts of a session: its options, the state of the model, and the way to both. */
import type { Card } from '../../client/format/card.ts'
import { fingerprintOf } from '../../client/format/field.ts'
import type { Contact } from '../../client/messenger/contact.ts'
import type { Identity } from '../../client/format/identity.ts'
import type { Messenger } from '../../client/messenger/messenger.ts'
import type { RequestDesk } from '../owner/reception.ts'
import type { Front } from './front.ts'
import type { History } from './history.ts'
import type { Effect, Input } from './input.ts'
import { update } from './model.ts'
import type { People } from './people.ts'
import { initialState, type State } from './state.ts'
import type { Look } from './transcript.ts'
import { describeError } from './wording.ts'

export interface SessionOptions {
  readonly messenger: Pick<
    Messenger,
    'send' | 'sendFile' | 'received' | 'receiveFrom' | 'events' | 'read' | 'accept' | 'flush' | 'deliveries'
  >
  readonly people: People
  /** The contact requests; without it, none come. */
  readonly requests?: Pick<RequestDesk, 'ignore' | 'refresh'>
  readonly identity: Identity
  /** The user's own name, and their card if there is one. */
  readonly name: string
  readonly card?: Card
  /** Stores the key of an invite and the operator's card. @returns the operator, if the invite has their card, and a line to tell */
  readonly join?: (invite: string) => Promise<{ readonly operator?: Contact; readonly text: string }>
  /** The paths of received files, by their ids. */
  readonly places: ReadonlyMap<string, string>
  /** The user's own relays. */
  readonly relays: readonly string[]
  /** The relays in the profile, if the command line named others. */
  readonly stored?: readonly string[]
  readonly front: Front
  readonly history?: History
  readonly look: Look
  readonly receipts: boolean
  /** Whether to notify the user of messages that they do not see. */
  readonly notify: boolean
  /** Whether to wait at the end of input until a relay has every message: for pipes. */
  readonly patient: boolean
  /** Called when a message waits to be shown. */
  readonly onHeld?: () => void
  /** Milliseconds since 1970. */
  readonly now?: () => number
  /** Seconds since the machine started, also while it was suspended. No change of the clock affects them. */
  readonly seconds?: () => number
}

/** Until the front reports the terminal's size. */
const SIZE = { rows: 24, columns: 80 }

export class Context {
  readonly options: SessionOptions
  readonly #onEffect: (effect: Effect) => void
  readonly #onDefect: (error: unknown) => void
  #state: State
  #phase: 'preparing' | 'running' | 'over' = 'preparing'

  /**
   * @param onEffect performs an effect of the model
   * @param onDefect called with an error that no text describes; it ends the session
   */
  constructor(options: SessionOptions, onEffect: (effect: Effect) => void, onDefect: (error: unknown) => void) {
    this.options = options
    this.#onEffect = onEffect
    this.#onDefect = onDefect
    this.#state = initialState({ me: options.name, look: options.look, size: SIZE, receipts: options.receipts })
  }

  get state(): State {
    return this.#state
  }

  /** From now on, the front shows each new state. */
  begin(): void {
    this.#phase = 'running'
  }

  /** From now on, inputs change nothing. */
  end(): void {
    this.#phase = 'over'
  }

  /** Gives an input to the model, performs its effects and shows its state. */
  put(input: Input): void {
    if (this.#phase === 'over') return
    const { state, effects } = update(this.#state, input, this.now())
    const isNew = state !== this.#state
    this.#state = state
    for (const effect of effects) this.#onEffect(effect)
    if (isNew && this.#phase === 'running') this.options.front.show(this.#state)
  }

  /** Milliseconds since 1970. */
  now(): number {
    return this.options.now?.() ?? Date.now()
  }

  /** Tells the user something in one line. */
  tell(text: string, bad = false): void {
    this.put({ kind: 'told', text, role: bad ? 'bad' : 'plain' })
  }

  /** Shows the contacts and groups after a change. */
  showPeople(): void {
    this.put({ kind: 'people', parties: this.options.people.parties() })
  }

  /** Runs a task, and reports its error to `onFailure`, by default as a line to the user. */
  attempt(task: () => Promise<void>, onFailure = (why: string): void => this.tell(why, true)): void {
    task().catch((error: unknown) => {
      const why = describeError(error)
      if (why === undefined) this.#onDefect(error)
      else onFailure(why)
    })
  }

  get me(): string {
    return fingerprintOf(this.options.identity.key)
  }
}
