/** The contact requests in the output of `get`: each message of them once, by whichever `get` is the first. */
import type { RequestDesk } from '../owner/reception.ts'
import type { Book } from '../profile/book.ts'
import type { ContactRequest } from '../profile/requests.ts'
import { CliError } from '../program/error.ts'
import { formatJson } from '../program/show.ts'
import { whenOf } from './report.ts'
import { DECIDE_HINT, describeRequest, formatRequest } from './request.ts'

export interface AskingOptions {
  readonly json: boolean
  /** Whether to show the time of each message. */
  readonly isDated: boolean
  readonly print: (line: string) => Promise<void>
  readonly note: (text: string) => void
}

export class Asking {
  readonly #book: Book
  readonly #options: AskingOptions
  readonly #desk = Promise.withResolvers<RequestDesk>()
  readonly #shown = new Set<string>()
  #tail: Promise<void> = Promise.resolve()

  constructor(book: Book, options: AskingOptions) {
    this.#book = book
    this.#options = options
  }

  /** The requests can be reached from now on. */
  open(desk: RequestDesk): void {
    this.#desk.resolve(desk)
  }

  /** Prints the messages that no `get` has shown yet, and remembers that it did. */
  show(requests: readonly ContactRequest[]): void {
    this.#tail = this.#tail
      .then(() => this.#show(requests))
      .catch((error: unknown) => this.#options.note(error instanceof CliError ? error.message : 'the contact requests cannot be shown'))
  }

  /** Resolves once all are shown. */
  shown(): Promise<void> {
    return this.#tail
  }

  async #show(requests: readonly ContactRequest[]): Promise<void> {
    const { json, isDated, print, note } = this.#options
    const shown: string[] = []
    for (const request of requests) {
      for (const message of request.messages) {
        if (message.shown === true || this.#shown.has(message.id)) continue
        this.#shown.add(message.id)
        const when = isDated ? whenOf(message.time) : ''
        await print(json ? formatJson(describeRequest(request, message)) : formatRequest(request, message, this.#book, when))
        shown.push(message.id)
      }
    }
    if (shown.length === 0) return
    if (!json) note(DECIDE_HINT)
    await (await this.#desk.promise).markShown(shown)
  }
}
