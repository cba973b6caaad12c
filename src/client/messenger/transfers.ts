/** The public types of file transfers, and the services of the messenger that they use. */
import type { DeliveryState } from '../delivery/entry.ts'
import type { FileArrival, FileInfo, FileSink, FileState } from '../delivery/file.ts'
import type { Content } from '../format/content.ts'
import type { Contact } from './contact.ts'

/** A file that a contact wants to send. */
export interface FileOffer extends FileInfo {
  readonly from: Contact
}

/** A file that was sent. Its properties change while it is under way. */
export interface FileDelivery {
  readonly file: string
  readonly to: Contact
  readonly name: string
  /** Bytes of the file, and bytes that the receiver reported to have. */
  readonly total: number
  readonly confirmed: number
  readonly state: FileState
  readonly error: unknown
  /** Resolves with the final state; with the current one if the messenger closes. */
  readonly settled: Promise<FileState>
}

/** Progress of a file: one that was sent, or one that is received. */
export type FileEvent =
  | { readonly kind: 'file-sent'; readonly file: FileDelivery }
  | {
      readonly kind: 'file-received'
      readonly offer: FileOffer
      readonly state: FileArrival
      /** Stored so far. */ readonly bytes: number
      readonly error?: unknown
    }

/** Decides which files to accept, and where to store them. */
export interface FileReceiver {
  /** Whether it takes files at present. If not, parts of files are received like any message. By default it always does. */
  readonly takes?: () => boolean
  /**
   * Accepts or refuses a file.
   * @returns where to store its parts; `done` if the whole file is there already; undefined to refuse it
   * @throws if the file cannot be stored; its sender gets the answer `refused`
   */
  open(offer: FileOffer): Promise<FileSink | 'done' | undefined>
}

/** The services of a messenger for its file transfers. */
export interface TransferPort {
  readonly now: () => number
  readonly random: () => number
  /** Sends a message. `onChange` is called when its state changes; without it, the message needs no receipt. */
  readonly post: (to: Contact, content: Content, deadline: number, onChange?: (state: DeliveryState, error: unknown) => void) => string
  /** Withdraws a message. */
  readonly withdraw: (id: string) => void
  readonly emit: (event: FileEvent) => void
  readonly schedule: () => void
}
