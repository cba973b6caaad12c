/** A conversation: its head, its messages, and the line to write in. */
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks'
import { deliveryText } from '../wording/delivery.ts'
import { dayOf } from '../wording/figures.ts'
import { sourceOf } from './files.ts'
import { Face } from './list.tsx'
import { Message, type MessageActions } from './message.tsx'
import { type Conversation, type Entry, protectionOf, unseenOf } from './model.ts'
import { download, Icon, Problem, useAction } from './parts.tsx'
import { PROTECTIONS, RequestBox } from './person.tsx'
import type { Talk } from './talk.ts'
import { rangeOf } from './window.ts'

/** The texts that the user has not sent yet, by conversation. */
export type Drafts = Map<string, string>

export function ConversationView({
  talk,
  conversation,
  drafts,
  onBack,
  onPerson,
}: {
  readonly talk: Talk
  readonly conversation: Conversation
  readonly drafts: Drafts
  readonly onBack: () => void
  readonly onPerson: () => void
}) {
  const { id, kind, name, verified, blocked } = conversation
  const { problem, run } = useAction()
  const actions = useMemo(
    (): MessageActions => ({
      onAgain: (key) => talk.writeAgain(id, key),
      onDecide: (key, takes) => talk.decide(key, takes),
      onSave: (key) => {
        const file = talk.fileOf(id, key)
        if (file !== undefined) download(file.blob, file.name)
      },
      onAdd: (card) => run(async () => talk.open(await talk.people.addCard(card))),
    }),
    [talk, id],
  )
  return (
    <section class="conversation" aria-label={`Conversation with ${name}`}>
      <header class="head">
        <button type="button" class="back" onClick={onBack}>
          <Icon name="back" /> <span class="hidden">Back to the list</span>
        </button>
        <Face name={name} kind={kind} />
        <div class="who">
          <h2 class="name" dir="auto">
            {name}
          </h2>
          <p class="about">{aboutOf(conversation)}</p>
        </div>
        {kind === 'contact' && (
          <button type="button" onClick={onPerson}>
            {verified ? 'Details' : 'Verify'}
          </button>
        )}
      </header>
      <Problem text={problem} />
      <Log key={id} talk={talk} conversation={conversation} actions={actions} />
      {kind === 'contact' && !blocked && <Composer key={`write ${id}`} talk={talk} conversation={conversation} drafts={drafts} />}
      {kind === 'contact' && blocked && <p class="note">You blocked {name}. Unblock them under Details to write.</p>}
      {kind === 'request' && <RequestBox key={`ask ${id}`} talk={talk} conversation={conversation} />}
    </section>
  )
}

/** Says how far the user knows the person, and what protects the messages. */
function aboutOf(conversation: Conversation) {
  const { kind, verified, twin } = conversation
  if (kind === 'strangers') return 'These people are no contacts of yours. Do not believe their names.'
  if (kind === 'request')
    return twin === undefined ? 'This person is no contact yet' : `Careful: the name looks like that of your contact ${twin}`
  const protection = protectionOf(conversation)
  return (
    <>
      {verified ? 'Verified' : 'Not verified yet'}
      <span title={PROTECTIONS[protection]}>
        {' · protected by: '}
        <strong>{protection}</strong>
      </span>
    </>
  )
}

/** Pixels that an entry has before it was drawn once. */
const GUESS = 72
/** Closer to the end than so many pixels counts as the end. */
const NEAR = 24

/** The messages. Only those near the screen are in the document, so that 10,000 of them are as quick as ten. */
function Log({
  talk,
  conversation,
  actions,
}: {
  readonly talk: Talk
  readonly conversation: Conversation
  readonly actions: MessageActions
}) {
  const { id, entries, name } = conversation
  const box = useRef<HTMLDivElement>(null)
  const heights = useRef(new Map<number, number>())
  /** The first visible entry and its distance from the top; undefined at the end of the list. */
  const anchor = useRef<{ readonly key: number; readonly offset: number } | undefined>(undefined)
  const [top, setTop] = useState<number>()
  const [visible, setVisible] = useState(800)
  const [, redraw] = useState(0)

  const known = entries.map(({ key }) => heights.current.get(key) ?? GUESS)
  const range = rangeOf(known, top, visible)
  const drawn = entries.slice(range.start, range.end)

  const look = useCallback((): void => {
    const list = box.current
    if (list === null || document.visibilityState !== 'visible') return
    const { top: upper, bottom: lower } = list.getBoundingClientRect()
    const keys: number[] = []
    for (const item of list.querySelectorAll<HTMLElement>('[data-key]')) {
      const { top, bottom } = item.getBoundingClientRect()
      if (bottom > upper && top < lower) keys.push(Number(item.dataset['key']))
    }
    talk.drawn(id, keys)
  }, [talk, id])

  useLayoutEffect(() => {
    const list = box.current
    if (list === null) return
    let isChanged = false
    for (const item of list.querySelectorAll<HTMLElement>('[data-key]')) {
      const key = Number(item.dataset['key'])
      const { height } = item.getBoundingClientRect()
      if (Math.abs((heights.current.get(key) ?? 0) - height) < 0.5) continue
      heights.current.set(key, height)
      isChanged = true
    }
    const held = anchor.current
    if (held === undefined) list.scrollTop = list.scrollHeight
    else {
      const item = list.querySelector<HTMLElement>(`[data-key="${held.key}"]`)
      const moved = item === null ? 0 : item.offsetTop - list.scrollTop - held.offset
      if (Math.abs(moved) > 1) list.scrollTop += moved
    }
    if (isChanged) redraw((count) => count + 1)
    look()
  })

  useEffect(() => {
    const list = box.current
    if (list === null) return
    const watch = new ResizeObserver(() => {
      setVisible(list.clientHeight)
      if (anchor.current === undefined) list.scrollTop = list.scrollHeight
    })
    watch.observe(list)
    document.addEventListener('visibilitychange', look)
    return () => {
      watch.disconnect()
      document.removeEventListener('visibilitychange', look)
    }
  }, [look])

  const onScroll = (): void => {
    const list = box.current!
    const isEnd = list.scrollHeight - list.scrollTop - list.clientHeight < NEAR
    const first = Array.from(list.querySelectorAll<HTMLElement>('[data-key]')).find(
      (item) => item.offsetTop + item.offsetHeight > list.scrollTop,
    )
    anchor.current =
      isEnd || first === undefined ? undefined : { key: Number(first.dataset['key']), offset: first.offsetTop - list.scrollTop }
    setTop(isEnd ? undefined : list.scrollTop)
    look()
  }
  const toEnd = (): void => {
    anchor.current = undefined
    setTop(undefined)
  }
  const unseen = unseenOf(conversation)
  return (
    <div class="scroller">
      <div
        ref={box}
        class="log"
        role="log"
        aria-label={`Messages with ${name}`}
        aria-live={top === undefined ? 'polite' : 'off'}
        tabIndex={0}
        onScroll={onScroll}
      >
        {entries.length === 0 && <p class="empty">No messages yet. What you write here is encrypted on this device, for {name} alone.</p>}
        <div style={{ height: `${range.before}px` }} />
        {drawn.map((entry, n) => (
          <div key={entry.key} data-key={entry.key} class="entry">
            <Message
              entry={entry}
              isNamed={conversation.kind === 'strangers'}
              day={isNewDay(entries[range.start + n - 1], entry)}
              actions={actions}
            />
          </div>
        ))}
        <div style={{ height: `${range.after}px` }} />
      </div>
      {top !== undefined && (
        <button type="button" class="newest" onClick={toEnd}>
          <Icon name="down" /> {unseen > 0 ? `${unseen} new` : 'Newest'}
        </button>
      )}
    </div>
  )
}

const isNewDay = (before: Entry | undefined, { at }: Entry): boolean => before === undefined || dayOf(before.at) !== dayOf(at)

/** The meaning of each state of the user's last message, with advice. */
const MEANINGS: Readonly<Record<string, string>> = {
  waiting: 'No relay has your message yet. It goes out as soon as one can be reached; leave this page open.',
  held: 'The relay keeps your message until they come online.',
  unconfirmed: 'They did not confirm this message in time.',
}

function Composer({ talk, conversation, drafts }: { readonly talk: Talk; readonly conversation: Conversation; readonly drafts: Drafts }) {
  const { id, name, entries } = conversation
  const [text, setText] = useState(drafts.get(id) ?? '')
  const area = useRef<HTMLTextAreaElement>(null)
  const picker = useRef<HTMLInputElement>(null)
  useEffect(() => {
    // A keyboard on the screen would cover the messages.
    if (matchMedia('(hover: hover)').matches) area.current?.focus()
  }, [])
  useLayoutEffect(() => {
    const field = area.current
    if (field === null) return
    field.style.height = 'auto'
    field.style.height = `${Math.min(field.scrollHeight + 2, 200)}px`
  }, [text])
  const change = (next: string): void => {
    setText(next)
    if (next === '') drafts.delete(id)
    else drafts.set(id, next)
  }
  const send = (): void => {
    if (text.trim() === '') return
    talk.write(id, text)
    change('')
    area.current?.focus()
  }
  const last = entries.findLast(({ from }) => from === 'me')
  const state = last === undefined ? undefined : deliveryText(last)?.text.replace(/:.*$/s, '')
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault()
        send()
      }}
    >
      <p class="hint meaning" role="status">
        {(state !== undefined && MEANINGS[state]) || ''}
      </p>
      <div class="row">
        <input
          ref={picker}
          type="file"
          class="hidden"
          tabIndex={-1}
          aria-hidden="true"
          onChange={(event) => {
            for (const file of event.currentTarget.files ?? []) void talk.sendFile(id, sourceOf(file))
            event.currentTarget.value = ''
          }}
        />
        <button type="button" class="round" onClick={() => picker.current?.click()}>
          <Icon name="clip" />
          <span class="hidden">Send a file</span>
        </button>
        <textarea
          ref={area}
          rows={1}
          value={text}
          dir="auto"
          autocomplete="off"
          aria-label={`Write to ${name}`}
          placeholder={`Write to ${name}`}
          onInput={(event) => change(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
            event.preventDefault()
            send()
          }}
        />
        <button class="round primary" disabled={text.trim() === ''}>
          <Icon name="send" />
          <span class="hidden">Send</span>
        </button>
      </div>
    </form>
  )
}
