/** Follows the state of the relays that `get` receives from, and the other events beside the messages. */
import type { MessengerEvent } from '../../client/messenger/event.ts'
import { MessengerError } from '../../client/messenger/error.ts'
import type { MessengerPort } from '../../client/messenger/port.ts'
import { RelayError } from '../../client/wire/error.ts'
import type { CliError } from '../program/error.ts'
import type { Io } from '../program/io.ts'
import { sanitizeLine } from '../program/show.ts'
import { describeClock } from '../../wording/refusal.ts'
import { duration } from '../../wording/figures.ts'
import { mayPass, toCliError, wantsKey } from './refusal.ts'

/** Prints the events. */
export interface Teller {
  duplicate(event: Extract<MessengerEvent, { kind: 'duplicate' }>): void
  progress(event: Extract<MessengerEvent, { kind: 'file-received' }>): void
  note(text: string): void
}

export class MailboxWatch {
  readonly #io: Io
  readonly #relays: readonly string[]
  readonly #follow: boolean
  readonly #up = new Set<string>()
  readonly #errors = new Map<string, unknown>()
  /** How many messages each relay said wait. */
  readonly #announced = new Map<string, number>()
  /** Relays whose hint was printed. */
  readonly #hinted = new Set<string>()
  readonly #failure = Promise.withResolvers<never>()
  /** Rejects when every relay has failed. */
  readonly failure: Promise<never> = this.#failure.promise

  constructor(messenger: MessengerPort, relays: readonly string[], follow: boolean, show: Teller, io: Io) {
    this.#io = io
    this.#relays = relays
    this.#follow = follow
    this.failure.catch(() => {})
    const events = messenger.events()
    void (async () => {
      for await (const event of events) {
        if (event.kind === 'relay' && event.purpose === 'receive') this.#onRelay(event)
        else if (event.kind === 'duplicate') show.duplicate(event)
        else if (event.kind === 'file-received') show.progress(event)
        else if (event.kind === 'clock') show.note(describeClock(event, Date.now()))
      }
    })()
  }

  #onRelay({ relay, state, error, again, waiting = 0 }: Extract<MessengerEvent, { kind: 'relay' }>): void {
    if (state === 'up') this.#announced.set(relay, waiting)
    if (state === 'up') this.#up.add(relay)
    if (state === 'up') this.#errors.delete(relay)
    if (state !== 'down' || error === undefined) return
    this.#errors.set(relay, error)
    const errors = [...this.#errors.values()]
    const allDown = errors.length === this.#relays.length
    if (allDown && (errors.every((each) => !mayPass(each)) || (this.#follow && this.#up.size === 0))) this.#failure.reject(errors[0])
    else if (this.#follow) {
      const pause = mayPass(error) && again !== undefined ? `; trying again in ${duration(Math.ceil(again / 1_000))}` : ''
      this.#io.stderr.write(`asfaleia: ${this.#nameOf(relay)}${describeError(error)}${pause}\n`)
      if (!this.#hinted.has(relay)) this.#hint(relay, error)
    }
  }

  /** Reports failed relays at the end. @throws the error of the first relay if every relay failed */
  conclude(missed: ReadonlyMap<string, unknown>, shown: number): void {
    const isLate = ([, error]: [string, unknown]): boolean => error instanceof MessengerError && error.code === 'undelivered'
    const late = [...missed].filter(isLate)
    const errors = [...missed].filter((each) => !isLate(each))
    if (errors.length === this.#relays.length && errors.length > 0)
      throw (errors.find(([relay]) => relay === this.#relays[0]) ?? errors[0]!)[1]
    for (const [relay, error] of errors) {
      this.#io.stderr.write(`asfaleia: ${this.#nameOf(relay)}${describeError(error)}\n`)
      this.#hint(relay, error)
    }
    for (const [relay] of late)
      this.#io.stderr.write(`asfaleia: ${this.#nameOf(relay)}the relay announced more messages than it delivered; try again later\n`)
    const isAnnounced = errors.some(([relay]) => (this.#announced.get(relay) ?? 0) > 0)
    if (shown === 0 && late.length === 0 && !isAnnounced) this.#io.stderr.write('asfaleia: no messages wait\n')
  }

  /** Says how to show the SSH key to a relay that serves only people whose keys it knows. */
  #hint(relay: string, error: unknown): void {
    if (!wantsKey(error)) return
    this.#hinted.add(relay)
    const { hint } = toCliError(error, NEVER, relay) as CliError
    this.#io.stderr.write(`asfaleia: hint: ${hint}\n`)
  }

  /** The relay as a prefix, if there are several. */
  #nameOf(relay: string): string {
    return this.#relays.length > 1 ? `${sanitizeLine(relay)}: ` : ''
  }
}

function describeError(error: unknown): string {
  return error instanceof RelayError ? (toCliError(error, NEVER) as CliError).message : 'the relay is unusable'
}

const NEVER = new AbortController().signal
