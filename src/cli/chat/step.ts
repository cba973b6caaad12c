/** One step of the model: the next state, and the effects to perform. All changes of a state go through it. */
import { type Conversation, type Entry, STRANGERS } from './conversation.ts'
import type { Editor } from './editor.ts'
import type { Effect } from './input.ts'
import { openConversation, type State } from './state.ts'
import { type Role, showLine } from './text.ts'

/** The most entries of a conversation; the oldest are dropped. */
const MOST_ENTRIES = 2_000
/** As MOST_ENTRIES, for strangers: anyone can write to them. */
const MOST_STRANGERS = 200

export class Step {
  state: State
  readonly effects: Effect[] = []
  /** Milliseconds since 1970. */
  readonly now: number

  constructor(state: State, now: number) {
    this.state = state
    this.now = now
  }

  set(change: Partial<State>): void {
    this.state = { ...this.state, ...change }
  }

  tell(text: string, role: Role = 'plain'): void {
    this.set({ told: { text: showLine(text), role } })
  }

  change(id: string, change: (conversation: Conversation) => Conversation): void {
    this.set({ conversations: this.state.conversations.map((each) => (each.id === id ? change(each) : each)) })
  }

  changeOpen(change: (conversation: Conversation) => Conversation): void {
    if (this.state.open !== undefined) this.change(this.state.open, change)
  }

  /** Changes the line of the open conversation, or the line without a conversation. */
  changeLine(change: (line: Editor) => Editor): void {
    if (openConversation(this.state) === undefined) this.set({ line: change(this.state.line) })
    else this.changeOpen((each) => ({ ...each, editor: change(each.editor) }))
  }

  changeEntry(key: number, change: (entry: Entry) => Entry): void {
    const holder = this.state.conversations.find(({ entries }) => entries.some((each) => each.key === key))
    if (holder === undefined) return
    this.change(holder.id, (conversation) => ({
      ...conversation,
      entries: conversation.entries.map((each) => (each.key === key ? change(each) : each)),
    }))
  }

  append(id: string, entry: Omit<Entry, 'key' | 'verdict' | 'deliveries' | 'unseen' | 'tickets'> & Partial<Entry>): Entry {
    const whole: Entry = { verdict: 'genuine', deliveries: [], unseen: false, tickets: [], ...entry, key: this.state.nextKey }
    this.set({ nextKey: this.state.nextKey + 1 })
    this.change(id, (each) => {
      const entries = [...each.entries, whole]
      const extra = entries.length - (id === STRANGERS ? MOST_STRANGERS : MOST_ENTRIES)
      // Unacknowledged messages stay; the windows of the relays bound their number.
      return { ...each, entries: extra > 0 ? entries.filter(({ tickets }, index) => index >= extra || tickets.length > 0) : entries }
    })
    return whole
  }
}
