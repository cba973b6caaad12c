import type { Answers, Message } from '../../protocol/answer.ts'
import type { RequestOptions } from './client.ts'

/** The requests of one mailbox of a `ClaimClient`. */
export interface ClaimedMailbox {
  /** Resolves when the relay took the secret. Requests need not wait for it. @throws {RelayError} */
  readonly claimed: Promise<void>
  /** As `RelayClient.get`. */
  get(options?: { lease?: boolean } & RequestOptions): Promise<Answers['GET']>
  /** As `RelayClient.ack`. */
  ack(ids: readonly string[], options?: RequestOptions): Promise<number>
  /**
   * Yields messages as they arrive, each leased until it is acknowledged. Leaving the loop does not end the connection:
   * the subscription stays, and its messages wait for the next loop.
   * @throws {RelayError} `taken-over` if a newer subscriber has the mailbox; otherwise the error that ended the connection
   */
  subscribe(options?: { onSubscribed?: (waiting: number) => void } & RequestOptions): AsyncGenerator<Message, void>
  /** Publishes a bundle, or takes it down if it is undefined. @returns seconds for which the relay holds it at most */
  publish(bundle: Uint8Array | undefined, options?: RequestOptions): Promise<number>
  /** Erases the whole mailbox and its bundle. @returns how many messages it had */
  wipe(options?: RequestOptions): Promise<number>
  /** Gives the mailbox up and ends its subscription, so that another mailbox can have its place on the connection. */
  leave(): void
}
