/** An address that the user reads: its place on the present connection, and the acknowledgements of its messages. */
import type { ClaimClient } from '../wire/claim-client.ts'
import type { ClaimedMailbox } from '../wire/claimed-mailbox.ts'
import type { Source } from './inbox.ts'
import type { Address } from './secrets.ts'

export class Box implements Source {
  readonly address: Address
  readonly #onAcked: () => void
  mailbox: ClaimedMailbox | undefined
  client: ClaimClient | undefined
  #acks: string[] = []
  #acking = 0
  /** Messages without an acknowledgement. */
  open = 0
  /** When it was asked without a subscription on this connection: the number of that request; 0 if not yet. */
  asked = 0
  /** Another client has taken it over. */
  isOver = false
  #onIdle: (() => void) | undefined

  constructor(address: Address, onAcked: () => void) {
    this.address = address
    this.#onAcked = onAcked
  }

  get window(): number {
    return this.client?.limits.window ?? 0
  }

  get busy(): boolean {
    return this.#acks.length > 0 || this.#acking > 0
  }

  /** Resolves once every message is acknowledged. */
  async idle(): Promise<void> {
    if (this.open > 0 || this.busy) await new Promise<void>((resolve) => (this.#onIdle = resolve))
  }

  ack(id: string): void {
    this.open = Math.max(0, this.open - 1)
    this.#acks.push(id)
    if (this.#acks.length === 1) queueMicrotask(() => this.#flush())
  }

  #flush(): void {
    const ids = this.#acks
    this.#acks = []
    const { mailbox, client } = this
    // Without a connection nothing is sent; the message comes again and is a duplicate then.
    if (mailbox === undefined) return this.#onAcked()
    this.#acking++
    void mailbox
      .ack(ids)
      .catch((error: unknown) => client?.close(error))
      .finally(() => {
        this.#acking--
        if (this.open === 0 && !this.busy) this.#onIdle?.()
        this.#onAcked()
      })
  }
}
