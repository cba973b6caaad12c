/** Conversations and what stands in them: values that the model changes and the view draws. All text in them can be shown. */
import { type Editor, EMPTY } from './editor.ts'

/** What is known of a message that came (docs/protocol.md, section 10). */
export type Verdict =
  | 'unreadable'
  | 'unsigned'
  | 'unknown-version'
  | 'truncated'
  | 'malformed'
  | 'forged'
  | 'unverifiable'
  | 'readdressed'
  | 'replayed'
  | 'future'
  | 'stale'
  | 'genuine'

export type DeliveryState = 'waiting' | 'held' | 'delivered' | 'read' | 'expired' | 'failed'

/** How one message to one person got on. */
export interface Delivery {
  readonly id: string
  /** The receiver's fingerprint, and name. */
  readonly member: string
  readonly to: string
  readonly state: DeliveryState
  /** Of `failed`, and of `expired`. */
  readonly why?: string
}

export interface Transfer {
  readonly name: string
  /** Bytes. */
  readonly total: number
  readonly moved: number
  /** `done` for one that came: where it was put. */
  readonly state: 'moving' | 'done' | 'failed'
  readonly note?: string
}

export interface Entry {
  /** Within this session. */
  readonly key: number
  /** The message's, where it has one; of those one sent to a group, each member's is in `deliveries`. */
  readonly id?: string
  /** Milliseconds since 1970. */
  readonly at: number
  readonly from: 'me' | 'them' | 'note'
  readonly author: string
  /** The author's key; undefined for notes and for what nobody signed. */
  readonly fingerprint?: string
  readonly text: string
  /** One's own text as it was written, to be changed. */
  readonly written?: string
  readonly verdict: Verdict
  readonly deliveries: readonly Delivery[]
  /** What it answers, as far as this session saw it. */
  readonly reply?: string
  readonly changed?: 'edited' | 'removed'
  /** Something that the same sender sent before it is missing. */
  readonly gap?: true
  /** What the same sender sent after it came before it. */
  readonly late?: true
  /** From an earlier session. */
  readonly earlier?: true
  /** A contact's card, to be added. */
  readonly card?: string
  readonly file?: Transfer
  readonly unseen: boolean
  /** To be acknowledged once this was drawn. */
  readonly tickets: readonly number[]
}

/** The last row on the screen: of which entry, and which of its rows. */
export interface Anchor {
  readonly key: number
  readonly row: number
}

/** What the next line is. */
export type Compose =
  { readonly kind: 'new' } | { readonly kind: 'reply'; readonly key: number } | { readonly kind: 'edit'; readonly key: number }

export interface Conversation {
  /** A contact's fingerprint, `group:` and a group's id, or {@link STRANGERS}. */
  readonly id: string
  readonly kind: 'contact' | 'group' | 'strangers'
  readonly name: string
  /** The person compared the safety words. */
  readonly verified: boolean
  /** Names of a group's members. */
  readonly members: readonly string[]
  /** A group that is shown, and not written to any more. */
  readonly left?: true
  readonly entries: readonly Entry[]
  readonly editor: Editor
  readonly compose: Compose
  readonly chosen: number | undefined
  /** Undefined at the bottom. */
  readonly scroll: Anchor | undefined
  /** Before which entry the line `new` stands. */
  readonly newFrom: number | undefined
}

export const STRANGERS = 'strangers'

const QUOTE = 80

export function blank(id: string, kind: Conversation['kind']): Conversation {
  return {
    id,
    kind,
    name: 'strangers',
    verified: false,
    members: [],
    entries: [],
    editor: EMPTY,
    compose: { kind: 'new' },
    chosen: undefined,
    scroll: undefined,
    newFrom: undefined,
  }
}

/** No message is chosen, answered or changed any more; the text of one that was being changed goes. */
export function letGo(conversation: Conversation): Conversation {
  const editor = conversation.compose.kind === 'edit' ? { ...conversation.editor, text: [], cursor: 0 } : conversation.editor
  return { ...conversation, compose: { kind: 'new' }, chosen: undefined, editor }
}

export function isOf(entry: Entry, id: string): boolean {
  return id !== '' && (entry.id === id || entry.deliveries.some((each) => each.id === id))
}

/** At least one of its messages is known by an id: it went out, or is about to. */
export function isOut({ deliveries }: Entry): boolean {
  return deliveries.some(({ id }) => id !== '')
}

export function quote({ text, file }: Entry): string {
  const line = (file === undefined ? text : `file "${file.name}"`).replaceAll('\n', ' ')
  return line.length > QUOTE ? `${line.slice(0, QUOTE).toWellFormed()}…` : line
}

export function unreadOf({ entries }: Pick<Conversation, 'entries'>): number {
  return entries.reduce((sum, { unseen }) => sum + (unseen ? 1 : 0), 0)
}

/** In one word or two how what one sent got on; of a group, the least of them and how many have it. */
export function deliveryText({
  deliveries,
  file,
}: Pick<Entry, 'deliveries' | 'file'>): { readonly text: string; readonly role: 'good' | 'warn' | 'bad' | 'dim' } | undefined {
  const [first] = deliveries
  if (first === undefined) return undefined
  const failed = deliveries.find(({ state }) => state === 'failed' || state === 'expired')
  if (failed !== undefined) {
    const whom = deliveries.length > 1 ? ` to ${failed.to}` : ''
    return {
      text: `${failed.state === 'failed' ? 'failed' : 'unconfirmed'}${whom}${failed.why === undefined ? '' : `: ${failed.why}`}`,
      role: 'bad',
    }
  }
  const order = ['waiting', 'held', 'delivered', 'read'] as const
  const least = order.find((state) => deliveries.some((each) => each.state === state)) ?? 'waiting'
  const role = least === 'waiting' ? 'warn' : least === 'held' ? 'dim' : 'good'
  if (deliveries.length === 1) return { text: file !== undefined && least === 'waiting' ? 'on its way' : least, role }
  const have = deliveries.filter(({ state }) => state === 'delivered' || state === 'read').length
  if (have === 0 || have === deliveries.length) return { text: `${least}${have === 0 ? '' : ` ${have}/${have}`}`, role }
  return { text: `delivered ${have}/${deliveries.length}`, role }
}
