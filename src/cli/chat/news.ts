/** Handles news from outside: people, messages, files and states of messages. Makes others' texts safe to show. */
import { isProtection, isWeaker, type Protection, type Transfer } from '../../wording/delivery.ts'
import { blank, type Conversation, type Entry, isOf, letGo, protectionOf, quote, STRANGERS } from './conversation.ts'
import { compareConversations } from '../../wording/order.ts'
import type { Arrival, Input, Kept, Party } from './input.ts'
import { showUnseen, turnTo } from './navigation.ts'
import { openConversation, type RelayState } from './state.ts'
import type { Step } from './step.ts'
import { showLine, showText } from './text.ts'

export function onPeople(step: Step, parties: readonly Party[]): void {
  const before = new Map(step.state.conversations.map((each) => [each.id, each]))
  const known = parties.map((party): Conversation => {
    const old = before.get(party.id) ?? blank(party.id, party.kind)
    const { left: _, blocked: _blocked, muted: _muted, expires: _expires, ...rest } = old
    const isAccepted = old.kind === 'request' && party.kind === 'contact'
    return {
      ...rest,
      // The card's name was the stranger's choice.
      ...(isAccepted && { entries: rest.entries.map((each) => ({ ...each, author: showLine(party.name) })) }),
      ...(party.blocked === true && { blocked: true }),
      kind: party.kind,
      name: showLine(party.name),
      verified: party.verified === true,
      members: (party.members ?? []).map(showLine),
      ...(party.left === true && { left: true }),
      ...(party.muted === true && { muted: true }),
      ...(party.expires !== undefined && { expires: party.expires }),
    }
  })
  known.sort(compareConversations)
  const strangers = before.get(STRANGERS)
  step.set({
    conversations: strangers === undefined ? known : [...known, strangers],
    cards: new Set(parties.flatMap(({ card }) => card ?? [])),
  })
  if (strangers !== undefined) introduce(step, strangers)
  for (const party of parties) if (party.kind === 'request') ask(step, party)
  const open = openConversation(step.state)
  if (open === undefined) {
    step.set({ open: undefined })
    const [first] = step.state.conversations
    // A user who is just writing must not answer a stranger by accident.
    if (first !== undefined && (first.kind !== 'request' || step.state.line.text.length === 0)) turnTo(step, first.id)
  }
}

/** Shows the messages of a contact request that are not there yet. They do not ring. */
function ask(step: Step, { id, name, asked = [] }: Party): void {
  const entries = step.state.conversations.find((each) => each.id === id)?.entries ?? []
  for (const each of asked) {
    if (entries.some((entry) => entry.id === each.id)) continue
    step.append(id, {
      at: each.at,
      from: 'them',
      author: showLine(name),
      fingerprint: id,
      id: each.id,
      text: showText(each.text),
      unseen: true,
    })
  }
}

/** Moves the messages of strangers who have become contacts into their conversations. */
function introduce(step: Step, strangers: Conversation): void {
  for (const { id, kind, name } of step.state.conversations) {
    if (kind !== 'contact') continue
    const own = strangers.entries.filter(
      ({ fingerprint, verdict }) =>
        fingerprint === id && verdict !== 'forged' && verdict !== 'unverifiable' && verdict !== 'readdressed' && verdict !== 'replayed',
    )
    if (own.length === 0) continue
    const keys = new Set(own.map(({ key }) => key))
    step.change(STRANGERS, (each) => ({
      ...each,
      entries: each.entries.filter(({ key }) => !keys.has(key)),
      scroll: undefined,
      chosen: undefined,
    }))
    step.change(id, (each) => ({
      ...each,
      entries: [...each.entries, ...own.map((entry) => ({ ...entry, author: name }))].toSorted((a, b) => a.key - b.key),
    }))
  }
}

export function onArrival(step: Step, arrival: Arrival): void {
  const id = placeFor(step, arrival.conversation)
  const conversation = step.state.conversations.find((each) => each.id === id)!
  const tickets = arrival.ticket === undefined ? [] : [arrival.ticket]
  const { change } = arrival
  if (change !== undefined) {
    const target = conversation.entries.find(
      (each) => each.from === 'them' && each.id === change.of && each.fingerprint === arrival.fingerprint,
    )
    if (target !== undefined) {
      return step.changeEntry(target.key, (each) => ({
        ...each,
        text: change.to === 'removed' ? '' : showText(arrival.text),
        changed: change.to,
        unseen: true,
        tickets: [...each.tickets, ...tickets],
      }))
    }
  }
  const unknown =
    change === undefined
      ? ''
      : change.to === 'removed'
        ? '(removed a message that is not shown here)'
        : '(edited a message that is not shown here) '
  const replied = arrival.replyTo === undefined ? undefined : conversation.entries.find((each) => isOf(each, arrival.replyTo!))
  const before = protectionOf(conversation)
  const entry = step.append(id, {
    at: arrival.at,
    from: 'them',
    author: showLine(arrival.author),
    text: unknown + showText(arrival.text),
    verdict: arrival.verdict,
    unseen: true,
    tickets,
    ...(arrival.fingerprint !== undefined && { fingerprint: arrival.fingerprint }),
    ...(arrival.id !== undefined && { id: arrival.id }),
    ...(arrival.replyTo !== undefined && { reply: replied === undefined ? '(a message that is not shown here)' : quote(replied) }),
    ...(arrival.expires !== undefined && { expires: arrival.expires }),
    ...(arrival.gap === true && { gap: true }),
    ...(arrival.late === true && { late: true }),
    ...(arrival.card !== undefined && { card: arrival.card }),
    ...(arrival.protection !== undefined && id !== STRANGERS && { protection: arrival.protection }),
  })
  tellStepDown(step, id, before)
  ring(step, id, entry)
}

/** Shows a new entry, or notifies the user of it. */
function ring(step: Step, id: string, { key, fingerprint }: Entry): void {
  const open = openConversation(step.state)
  if (open?.id === id) {
    if (open.scroll === undefined) showUnseen(step)
    if (!step.state.focused && open.newFrom === undefined) step.change(id, (each) => ({ ...each, newFrom: key }))
  }
  // A muted person is muted in groups, too.
  if (step.state.conversations.some((each) => each.muted === true && (each.id === id || each.id === fingerprint))) return
  // Strangers must not be able to ring.
  if (id !== STRANGERS && (open?.id !== id || !step.state.focused)) step.effects.push({ kind: 'attention' })
}

/** Returns the id if there is such a conversation, or else the strangers' conversation, which it creates. */
function placeFor(step: Step, id: string): string {
  if (step.state.conversations.some((each) => each.id === id)) return id
  if (!step.state.conversations.some((each) => each.id === STRANGERS)) {
    step.set({ conversations: [...step.state.conversations, blank(STRANGERS, 'strangers')] })
    if (step.state.open === undefined) turnTo(step, STRANGERS)
  }
  return STRANGERS
}

export function onEarlier(step: Step, kept: readonly Kept[]): void {
  for (const each of kept) {
    const conversation = step.state.conversations.find(({ id }) => id === each.conversation)
    if (conversation === undefined) continue
    const { change } = each
    const target =
      change === undefined ? undefined : conversation.entries.find((entry) => isOf(entry, change.of) && (entry.from === 'me') === each.mine)
    if (change !== undefined) {
      if (target !== undefined) {
        step.changeEntry(target.key, (entry) => ({
          ...entry,
          text: change.to === 'removed' ? '' : showText(each.text),
          changed: change.to,
        }))
      }
      continue
    }
    const replied = each.replyTo === undefined ? undefined : conversation.entries.find((entry) => isOf(entry, each.replyTo!))
    step.append(each.conversation, {
      at: each.at,
      from: each.mine ? 'me' : 'them',
      author: each.mine ? 'you' : showLine(each.author),
      text: showText(each.text),
      verdict: each.verdict,
      deliveries: each.deliveries,
      earlier: true,
      ...(each.fingerprint !== undefined && { fingerprint: each.fingerprint }),
      ...(each.id !== undefined && { id: each.id }),
      ...(replied !== undefined && { reply: quote(replied) }),
      ...(each.card !== undefined && { card: each.card }),
      ...(isProtection(each.protection) && { protection: each.protection }),
    })
  }
}

const STEPS: Readonly<Record<Exclude<Protection, 'one-time'>, string>> = {
  daily:
    'less protection (daily): the one-time keys ran out, so the latest message uses a key for first messages, which is erased after some ' +
    'days; answers bring new one-time keys',
  key:
    'less protection (key): the latest message is encrypted to an SSH key, and anyone who steals that key can read it; exchange new cards, ' +
    'which name an inbox',
}

/** Tells that the latest message has less protection than the one before; each step once. */
function tellStepDown(step: Step, id: string, before: Protection | undefined): void {
  const conversation = step.state.conversations.find((each) => each.id === id)
  const now = conversation && protectionOf(conversation)
  if (now === undefined || now === 'one-time' || before === undefined || !isWeaker(now, before)) return
  const told = conversation?.toldProtection
  if (told !== undefined && !isWeaker(now, told)) return
  step.change(id, (each) => ({ ...each, toldProtection: now }))
  onNote(step, id, STEPS[now])
}

export function onDelivery(step: Step, { id, state, why, protection }: Extract<Input, { kind: 'delivery' }>): void {
  const conversation = step.state.conversations.findLast(({ entries }) =>
    entries.some(({ deliveries }) => deliveries.some((each) => each.id === id)),
  )
  const holder = conversation?.entries.findLast(({ deliveries }) => deliveries.some((each) => each.id === id))
  if (conversation === undefined || holder === undefined || id === '') return
  step.changeEntry(holder.key, (entry) => ({
    ...entry,
    deliveries: entry.deliveries.map((each) => {
      if (each.id !== id) return each
      const { why: _, ...rest } = each
      return { ...rest, state, ...(why !== undefined && { why: showLine(why) }), ...(protection !== undefined && { protection }) }
    }),
  }))
  tellStepDown(step, conversation.id, protectionOf(conversation))
}

export function onFile(step: Step, input: Extract<Input, { kind: 'file' }>): void {
  const id = placeFor(step, input.conversation)
  const transfer = shownTransfer(input.transfer)
  const known = step.state.conversations
    .find((each) => each.id === id)
    ?.entries.find((each) => each.id === input.id && each.fingerprint === input.fingerprint)
  if (known !== undefined) return step.changeEntry(known.key, (entry) => ({ ...entry, file: transfer }))
  const entry = step.append(id, {
    id: input.id,
    at: step.now,
    from: 'them',
    author: showLine(input.author),
    fingerprint: input.fingerprint,
    text: '',
    file: transfer,
    unseen: true,
  })
  ring(step, id, entry)
}

export function onRelay(step: Step, relay: RelayState): void {
  const why = relay.why === undefined ? {} : { why: showLine(relay.why) }
  const shown = { relay: showLine(relay.relay), state: relay.state, ...why }
  const known = step.state.relays.some((each) => each.relay === shown.relay)
  step.set({ relays: known ? step.state.relays.map((each) => (each.relay === shown.relay ? shown : each)) : [...step.state.relays, shown] })
}

export function onNote(step: Step, conversation: string, text: string): void {
  if (step.state.conversations.some(({ id }) => id === conversation)) {
    step.append(conversation, { at: step.now, from: 'note', author: '', text: showText(text) })
  }
}

export function onDrawn(step: Step, keys: readonly number[]): void {
  const drawn = new Set(keys)
  const entries = step.state.conversations.flatMap(({ entries }) => entries).filter(({ key, unseen }) => unseen && drawn.has(key))
  if (entries.length === 0) return
  const tickets = entries.flatMap(({ tickets }) => tickets)
  if (tickets.length > 0) step.effects.push({ kind: 'done', tickets })
  const open = openConversation(step.state)?.entries ?? []
  const messages = entries
    .filter((each) => each.verdict === 'genuine' && each.from === 'them' && each.file === undefined && open.includes(each))
    .flatMap(({ id, fingerprint }) => (id === undefined || fingerprint === undefined ? [] : [{ from: fingerprint, id }]))
  if (messages.length > 0 && step.state.receipts) step.effects.push({ kind: 'read', messages })
  step.set({
    conversations: step.state.conversations.map((each) =>
      each.entries.some(({ key, unseen }) => unseen && drawn.has(key))
        ? { ...each, entries: each.entries.map((entry) => (drawn.has(entry.key) ? { ...entry, unseen: false, tickets: [] } : entry)) }
        : each,
    ),
  })
}

/** The quote of a message that has disappeared. */
const GONE = '(a message that has disappeared)'

/** Begins the time of messages that the user has seen or sent, and erases those whose time is over. */
export function onTick(step: Step, seconds: number): void {
  const isOver = ({ expires, expiresFrom }: Entry): boolean =>
    expires !== undefined && expiresFrom !== undefined && seconds - expiresFrom >= expires
  const begins = (entry: Entry): boolean => entry.expires !== undefined && entry.expiresFrom === undefined && !entry.unseen
  for (const { id, entries } of step.state.conversations) {
    if (!entries.some((entry) => begins(entry) || isOver(entry))) continue
    const gone = entries.filter(isOver)
    const keys = new Set(gone.map(({ key }) => key))
    const quotes = new Set(gone.map(quote))
    step.change(id, (each) => {
      const composes = each.compose.kind !== 'new' && keys.has(each.compose.key)
      const left = composes || (each.chosen !== undefined && keys.has(each.chosen)) ? letGo(each) : each
      const { scroll, newFrom } = left
      return {
        ...left,
        scroll: scroll !== undefined && keys.has(scroll.key) ? undefined : scroll,
        newFrom: newFrom !== undefined && keys.has(newFrom) ? undefined : newFrom,
        entries: entries
          .filter(({ key }) => !keys.has(key))
          .map((entry) => (begins(entry) ? { ...entry, expiresFrom: seconds } : entry))
          .map((entry) => (entry.reply !== undefined && quotes.has(entry.reply) ? { ...entry, reply: GONE } : entry)),
      }
    })
  }
}

/** Another command has shown a message, so it is not new here. */
export function onTaken(step: Step, ticket: number): void {
  const entry = step.state.conversations.flatMap(({ entries }) => entries).find(({ tickets }) => tickets.includes(ticket))
  if (entry === undefined) return
  const tickets = entry.tickets.filter((each) => each !== ticket)
  step.changeEntry(entry.key, (each) => ({ ...each, tickets, unseen: tickets.length > 0 }))
}

/** Shows the progress of a file that the user sends. */
export function onTransfer(step: Step, key: number, transfer: Transfer): void {
  step.changeEntry(key, (entry) => ({ ...entry, file: shownTransfer(transfer) }))
}

function shownTransfer(transfer: Transfer): Transfer {
  return { ...transfer, name: showLine(transfer.name), ...(transfer.note !== undefined && { note: showLine(transfer.note) }) }
}
