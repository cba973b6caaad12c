/** Contact requests: people who are no contacts, and whose message has their card. Bounded, because any stranger can send one. */
import type { Card } from '../client/format/card.ts'
import { fingerprintOf } from '../client/format/field.ts'
import { introductionOf } from '../client/format/introduction.ts'
import type { Envelope } from '../client/format/message.ts'

/** Most people with a request, and most messages of each. */
const MOST = { people: 64, messages: 16 } as const

export interface Request {
  /** The newest card. */
  readonly card: Card
  /** The ids of the messages. */
  readonly ids: readonly string[]
}

export class Requests {
  /** By fingerprint. */
  readonly #people = new Map<string, Request>()

  /**
   * Takes a genuine message of a person who is no contact.
   * @returns `none` if it is no request; `known` if it came before; `full` if there is no room; otherwise the request
   */
  async take({ content, group, id, ...envelope }: Envelope): Promise<Request | 'none' | 'known' | 'full'> {
    if ((content.type !== 'text' && content.type !== 'card') || group !== undefined) return 'none'
    const card = await introductionOf({ ...envelope, content, id })
    if (card === undefined) return 'none'
    const fingerprint = fingerprintOf(card.key)
    const before = this.#people.get(fingerprint)
    if (before?.ids.includes(id) === true) return 'known'
    if (before === undefined ? this.#people.size >= MOST.people : before.ids.length >= MOST.messages) return 'full'
    const newest = before === undefined || card.time > before.card.time ? card : before.card
    const request = { card: newest, ids: [...(before?.ids ?? []), id] }
    this.#people.set(fingerprint, request)
    return request
  }

  find(fingerprint: string): Request | undefined {
    return this.#people.get(fingerprint)
  }

  remove(fingerprint: string): void {
    this.#people.delete(fingerprint)
  }

  list(): readonly (readonly [fingerprint: string, request: Request])[] {
    return [...this.#people]
  }
}
