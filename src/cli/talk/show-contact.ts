/** Shows one contact, for people and as JSON. */
import { fingerprintOf, formatKey, formatTime } from '../../client/format/field.ts'
import { showName } from '../../wording/name.ts'
import type { Book, Known } from '../profile/book.ts'
import type { Home } from '../profile/home.ts'
import { CliError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'
import { nextProtection } from './keys.ts'

/** Prints a contact, or the link of their card. @returns the exit code @throws {CliError} if there is no card to link to */
export async function showContact(
  book: Book,
  known: Known,
  home: Home,
  values: { readonly link?: true; readonly json?: true },
  io: Io,
): Promise<number> {
  const { card } = known
  if (values.link === true) {
    if (card === undefined) throw new CliError(`there is no card of ${showName(known.name)}, only a key`)
    io.stdout.write(`${card.link}\n`)
    return EXIT.ok
  }
  const protection = await nextProtection(known, home, io)
  if (values.json === true) {
    io.stdout.write(`${formatJson({ ...describeContact(known), ...(protection !== undefined && { protection }) })}\n`)
    return EXIT.ok
  }
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['name', showIn(book, known)],
    [
      'called',
      card === undefined || card.name === known.name ? undefined : `${book.show(card.name, fingerprintOf(card.key))} (on their card)`,
    ],
    ['fingerprint', fingerprintOf(known.key)],
    ['key', formatKey(known.key)],
    ...known.relays.map((relay) => ['relay', relay] as const),
    ['encrypt', known.recipient],
    ['inbox', known.inbox === undefined ? undefined : fingerprintOf(known.inbox)],
    ['protection', protection],
    ['card', card === undefined ? 'none, only a key' : `of ${formatTime(card.time)}`],
    ['added', known.added === undefined ? undefined : formatTime(known.added)],
    ['verified', known.verified === undefined ? 'no' : formatTime(known.verified)],
    ['receipts', known.receipts ? undefined : 'no'],
  ]
  for (const [label, value] of rows) if (value !== undefined) io.stdout.write(`${`${label}:`.padEnd(13)}${sanitizeLine(value)}\n`)
  return EXIT.ok
}

/** The name as a line shows it. */
export const showIn = (book: Book, { name, key }: Known): string => book.show(name, fingerprintOf(key))

/** A contact as --json prints it. */
export function describeContact(known: Known): object {
  const { name, key, relays, recipient, inbox, card, added, verified, receipts, path } = known
  return {
    name,
    fingerprint: fingerprintOf(known.key),
    key: formatKey(key),
    relays,
    ...(recipient !== undefined && { encrypt: recipient }),
    ...(inbox !== undefined && { inbox: fingerprintOf(inbox) }),
    ...(card !== undefined && { card: { name: card.name, time: formatTime(card.time), link: card.link } }),
    ...(added !== undefined && { added: formatTime(added) }),
    verified: verified === undefined ? false : formatTime(verified),
    receipts,
    file: path,
  }
}
