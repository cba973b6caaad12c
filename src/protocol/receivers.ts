/**
 * The receivers that one connection names in SEND and FETCH: their mailboxes, and which of their keys were checked. Has
 * no I/O, like the session.
 */
import type { Fields, RequestName } from './packets.ts'
import type { Named, Ports, UncheckedKey } from './ports.ts'
import { Recent } from './recent.ts'
import type { Turn } from './turn.ts'

/** Receivers of one connection whose keys need no further check. A group has at most 32 members. */
const CHECKED = 32
/** The longest receiver that is remembered byte by byte: an RSA-3072 key and a comment fit. */
const RECEIVER_BYTES = 600

export class Receivers {
  readonly #ports: Ports
  readonly #turn: Turn
  readonly #recent = new Recent<string>()
  /**
   * Mailboxes of receivers whose keys were checked on this connection, and only on this: whether a check is needed
   * must not depend on whose keys others named. Created when needed.
   */
  #checked: Set<string> | undefined
  /** The mailbox of the key that is being checked. */
  #checking: string | undefined

  constructor(ports: Ports, turn: Turn) {
    this.#ports = ports
    this.#turn = turn
  }

  /** Whether a receiver's key is being checked. */
  get isChecking(): boolean {
    return this.#checking !== undefined
  }

  /** The check is over. */
  onChecked(isSound: boolean): void {
    const mailbox = this.#checking
    this.#checking = undefined
    if (mailbox === undefined || !isSound) return
    const checked = (this.#checked ??= new Set())
    checked.add(mailbox)
    if (checked.size <= CHECKED) return
    const [oldest] = checked
    checked.delete(oldest!)
  }

  /**
   * Finds the mailbox of the receiver in the request's second field.
   *
   * @returns the mailbox; or the receiver's key, if it must be checked first: then the same packet must come again after
   *   `onChecked`
   * @throws {ProtocolError} `bad-key`, `unsupported-key`
   */
  find(request: Fields<RequestName>): string | UncheckedKey {
    const known = this.#recent.find(request, 1)
    if (known !== undefined) return known
    const { mailbox, unchecked } = this.#name(request.field(1))
    if (unchecked === undefined) return mailbox
    this.#checking = mailbox
    return unchecked
  }

  clear(): void {
    this.#recent.clear()
    this.#checked = undefined
  }

  #name(field: Uint8Array): Named {
    this.#turn.onReceiver()
    const named = this.#ports.receiver(field)
    const { mailbox, unchecked } = named
    if (unchecked !== undefined && this.#checked?.has(mailbox) !== true) return named
    unchecked?.erase()
    if (field.length <= RECEIVER_BYTES) this.#recent.add(field, mailbox)
    return { mailbox }
  }
}
