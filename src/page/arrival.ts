/** How a received message appears: in which conversation, by which author, and in which words. The chat's rules. */
import type { Card } from '../client/format/card.ts'
import { decodeText, fingerprintOf } from '../client/format/field.ts'
import type { Envelope } from '../client/format/message.ts'
import type { Received } from '../client/messenger/inbox.ts'
import { describeContent } from '../wording/content.ts'
import type { Account } from './account.ts'
import { type Arrival, STRANGERS } from './model.ts'
import { protectionOf } from './session.ts'

/** Describes a message of a contact or of a stranger. */
export async function describeArrival(received: Received, account: Account): Promise<Arrival> {
  const { envelope, from, text: bare, verdict } = received
  if (envelope === undefined) {
    const text = bare === undefined ? '' : (decodeText(bare) ?? '(bytes that are not text)')
    return { conversation: STRANGERS, author: 'unknown', at: Date.now(), verdict, text }
  }
  const facts = factsOf(received, envelope)
  const isStored = (card: Card): boolean => account.find(fingerprintOf(card.key))?.card?.text === card.text
  const { text, card } = await describeContent(envelope.content, 'you can add it', isStored)
  const remark = envelope.group === undefined ? '' : '(to a group; this page shows no groups) '
  const isClaim = verdict === 'forged' || verdict === 'unverifiable'
  if (from === undefined || isClaim || verdict === 'readdressed') {
    const fingerprint = fingerprintOf(envelope.from)
    const named = account.find(fingerprint)
    const who = named === undefined ? fingerprint : `${named.name}, ${fingerprint}`
    const origin = isClaim ? `claims to be from ${who}\n` : verdict === 'readdressed' ? `from ${who}\n` : ''
    const author = isClaim ? verdict : `stranger ${fingerprint.slice(7, 12)}`
    return { ...facts, conversation: STRANGERS, author, text: origin + remark + text, ...(card !== undefined && !isClaim && { card }) }
  }
  const { content } = envelope
  const message = { ...facts, conversation: fingerprintOf(from.key), author: from.name }
  // A message that may be a replay, or is dated in the future, changes nothing: it appears as a text.
  if (verdict === 'genuine' && content.type === 'edit')
    return { ...message, text: remark + content.text, change: { of: content.of, to: 'edited' } }
  if (verdict === 'genuine' && content.type === 'remove') return { ...message, text: '', change: { of: content.of, to: 'removed' } }
  return {
    ...message,
    text: remark + text,
    ...(content.type === 'text' && content.replyTo !== undefined && { replyTo: content.replyTo }),
    ...(card !== undefined && { card }),
  }
}

type Facts = Pick<Arrival, 'at' | 'verdict' | 'fingerprint' | 'id' | 'protection' | 'gap' | 'late' | 'expires'>

/** Returns the facts of a message with a sender. */
export function factsOf(received: Received, { time, from, id, expires }: Envelope): Facts {
  const { verdict, gap, late } = received
  const facts = { at: time * 1_000, verdict, fingerprint: fingerprintOf(from), id, protection: protectionOf(received) }
  return { ...facts, ...(expires !== undefined && { expires }), ...(gap === true && { gap }), ...(late === true && { late }) }
}
