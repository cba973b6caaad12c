import type { FileSource } from '../delivery/file.ts'
import type { Content } from '../format/content.ts'
import type { Contact } from './contact.ts'
import type { Delivery } from './delivery.ts'
import type { MessengerEvent } from './event.ts'
import type { Received } from './inbox.ts'
import type { SendOptions } from './options.ts'
import type { FileDelivery } from './transfers.ts'

/** The operations of a {@link Messenger}. Processes that share one messenger each use it through such a port. */
export interface MessengerPort {
  readonly ready: Promise<void>
  send(to: Contact, content: Content, options?: SendOptions): Delivery
  sendFile(to: Contact, source: FileSource, options?: Omit<SendOptions, 'group' | 'id'>): Promise<FileDelivery>
  deliveries(): Delivery[]
  received(): AsyncIterable<Received>
  fetched(): Promise<ReadonlyMap<string, unknown>>
  receiveFrom(relay: string): void
  leaveRelay(relay: string): void
  events(): AsyncIterable<MessengerEvent>
  read(from: Contact, ids: readonly string[]): void
  accept(from: Contact): Promise<boolean>
  renewAddress(contact: Contact): Promise<void>
  forget(contact: Contact): Promise<void>
  flush(options?: { readonly signal?: AbortSignal }): Promise<void>
  close(): Promise<void>
}
