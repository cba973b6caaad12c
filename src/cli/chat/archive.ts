/** Connects a session with its history, if the user keeps one: shows earlier messages, and writes new ones. */
import type { Delivery, DeliveryState } from '../../wording/delivery.ts'
import type { Context } from './context.ts'
import type { Happened, History } from './history.ts'
import type { Arrival, Kept } from './input.ts'
import { formatBytes } from '../../wording/figures.ts'
import { describeError } from './wording.ts'

export class Archive {
  readonly #context: Context
  /** Ids of the user's own messages in the history. */
  readonly #mine = new Set<string>()

  constructor(context: Context) {
    this.#context = context
  }

  /** Shows the messages of earlier sessions, and erases those whose time is over. */
  async recall(history: History): Promise<void> {
    try {
      await history.prune()
      const { kept, problems } = await history.read()
      const { people } = this.#context.options
      this.#context.put({ kind: 'earlier', kept: kept.map((each) => ({ ...each, conversation: people.earlier(each.conversation) })) })
      for (const { deliveries } of kept) for (const { id } of deliveries) this.#mine.add(id)
      for (const problem of problems) this.#context.tell(problem, true)
    } catch (error) {
      const why = describeError(error)
      if (why === undefined) throw error
      this.#context.tell(why, true)
    }
  }

  /** Writes a message of the user. */
  keepSent(
    conversation: string,
    text: string,
    deliveries: readonly Delivery[] = [],
    more: Pick<Kept, 'id' | 'replyTo' | 'change'> = {},
  ): void {
    this.#keep([{ kind: 'message', message: { ...this.#genuine(conversation, text), mine: true, deliveries, ...more } }])
    for (const { id } of deliveries) this.#mine.add(id)
  }

  /** Writes the new state of a message of the user. */
  keepState(id: string, state: DeliveryState, why: string | undefined): void {
    if (this.#mine.has(id) && state !== 'waiting') this.#keep([{ kind: 'state', id, state, ...(why !== undefined && { why }) }])
  }

  /** Writes a received message. @returns whether it is on the disk */
  async keepArrival(message: Arrival): Promise<boolean> {
    const { history } = this.#context.options
    // A message that disappears is never on the disk, so nothing has to be erased there.
    if (history === undefined || message.expires !== undefined) return false
    try {
      await history.append([{ kind: 'message', message: { ...message, mine: false, deliveries: [] } }])
      return true
    } catch (error) {
      this.#context.tell(describeError(error) ?? 'cannot write the history', true)
      return false
    }
  }

  /** Writes that a file arrived. @param author its sender; undefined if the user sent it */
  keepFile(conversation: string, { name, total }: { readonly name: string; readonly total: number }, author?: string): void {
    const message = this.#genuine(conversation, `(file "${name}", ${formatBytes(total)})`)
    const mine = author === undefined
    this.#keep([{ kind: 'message', message: { ...message, author: author ?? message.author, mine, deliveries: [] } }])
  }

  #genuine(conversation: string, text: string): Pick<Kept, 'conversation' | 'author' | 'at' | 'verdict' | 'text'> {
    return { conversation, author: this.#context.options.name, at: this.#context.now(), verdict: 'genuine', text }
  }

  #keep(happened: readonly Happened[]): void {
    const { history } = this.#context.options
    if (history !== undefined) this.#context.attempt(() => history.append(happened))
  }
}
