/** `asfaleia contact`: whom one knows. Takes up cards and keys, shows them, and has safety words compared. */
import { fingerprintOf, formatKey, formatTime } from '../../client/format/field.ts'
import { randomart, safetyWords } from '../../client/format/safety.ts'
import { openCommandLine } from '../program/arguments.ts'
import { checkRelays } from '../profile/address.ts'
import { type Added, type Book, type Introduction, type Known } from '../profile/book.ts'
import { warnOf } from '../disk/folder.ts'
import { type Home, needHome } from '../profile/home.ts'
import { readIntroduction } from '../profile/introduction.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { formatJson, sanitizeLine } from '../program/show.ts'

const USAGE = 'asfaleia contact add|list|show|rename|remove|verify …'

const HELP = `usage: asfaleia contact add CARD [--name NAME] [--relay ADDRESS …]
       asfaleia contact list
       asfaleia contact show NAME [--link]
       asfaleia contact rename NAME NEW
       asfaleia contact remove NAME
       asfaleia contact verify NAME [--confirm]

Whom you know. CARD is what \`asfaleia me\` of theirs printed, its link in quotes, a .pub file, a line of authorized_keys in
quotes, or a file of one of these; \`-\` is standard input. A newer card of somebody known is taken up the same way, and what
changed is said. Another key for a name that is known is refused: ask them whether it is theirs. \`verify\` shows
twelve words that both of you read to each other, on the telephone say; if they are the same, nobody is between you.

  --name NAME         what you call them; the card's name where it is not given
  --relay ADDRESS     with a bare key, which says no relay: where they receive; again for more
  --link              the contact's card as a link, to pass on
  --confirm           the words were the same: the contact is marked as verified
  --json              one JSON object a line on stdout
  -h, --help          this text
`

interface Values {
  readonly name?: string
  readonly relay?: readonly string[]
  readonly link?: boolean
  readonly confirm?: boolean
  readonly json?: boolean
}

export async function run(argv: string[], io: Io): Promise<number> {
  const options = {
    name: { type: 'string' },
    relay: { type: 'string', multiple: true },
    link: { type: 'boolean' },
    confirm: { type: 'boolean' },
    json: { type: 'boolean' },
  } as const
  const given = openCommandLine(argv, io, { usage: USAGE, help: HELP, options })
  if (given === undefined) return EXIT.ok
  const { values, positionals } = given
  const [verb, ...words] = positionals
  const home = needHome(io.env)
  const book = await home.openBook((await home.readSettings()).relays)
  warnOf(book, io)
  switch (verb) {
    case 'add':
      return add(book, home, one(words, 'a card is wanted'), values, io)
    case 'list':
      none(words)
      return list(book, values, io)
    case 'show':
      return show(book.need(one(words, 'a NAME is wanted')), values, io)
    case 'rename': {
      const [name, to, ...more] = words
      if (name === undefined || to === undefined || more.length > 0)
        throw new UsageError('a NAME and its NEW one are wanted', { hint: USAGE })
      return done(await book.rename(book.need(name), to), 'renamed to', values, io)
    }
    case 'remove': {
      const known = book.need(one(words, 'a NAME is wanted'))
      await book.remove(known)
      return done(known, 'removed', values, io)
    }
    case 'verify':
      return verify(book, home, one(words, 'a NAME is wanted'), values, io)
  }
  throw new UsageError('add, list, show, rename, remove or verify is wanted', { hint: USAGE })
}

function one(words: readonly string[], problem: string): string {
  const [word, ...more] = words
  if (word === undefined || more.length > 0) throw new UsageError(problem, { hint: 'what has spaces in it wants quotes' })
  return word
}

function none(words: readonly string[]): void {
  if (words.length > 0) throw new UsageError('too many words', { hint: USAGE })
}

function done(known: Known, what: string, values: Values, io: Io): number {
  io.stdout.write(values.json === true ? `${formatJson(describe(known))}\n` : `${what} ${known.name}\n`)
  return EXIT.ok
}

async function add(book: Book, home: Home, word: string, values: Values, io: Io): Promise<number> {
  const given = await readIntroduction(word, io)
  const { key } = given.kind === 'card' ? given.card : given
  const own = await home.readCard()
  if (own !== undefined && fingerprintOf(own.key) === fingerprintOf(key)) throw new CliError('that is you')
  const added = await book.add(introduce(given, book, values), values.name)
  if (values.json === true) {
    const changes = added.kind === 'changed' ? { changes: added.changes } : {}
    io.stdout.write(`${formatJson({ [added.kind]: true, ...describe(added.contact), ...changes })}\n`)
  } else {
    io.stdout.write(tell(added))
  }
  if (added.kind === 'added') {
    io.stderr.write(
      `asfaleia: whether it is theirs only they can tell: \`asfaleia contact verify ${sanitizeLine(quote(added.contact.name))}\`\n`,
    )
  }
  return EXIT.ok
}

function introduce(given: Awaited<ReturnType<typeof readIntroduction>>, book: Book, values: Values): Introduction {
  if (given.kind === 'card') {
    if (values.relay !== undefined) throw new UsageError('the card says the relays', { hint: '--relay is for a key without a card' })
    return given
  }
  const { key } = given
  if (!key.canDecrypt) {
    throw new CliError('nothing can be encrypted to that key, which only signs', {
      hint: 'ask for their card: it names a key to encrypt to',
    })
  }
  if (values.relay === undefined && book.find(fingerprintOf(key)) === undefined) {
    throw new UsageError('a bare key says no relay', { hint: 'give the one where they receive: --relay ADDRESS' })
  }
  return { key, relays: checkRelays(values.relay ?? []) }
}

function tell(added: Added): string {
  const { contact } = added
  const name = sanitizeLine(contact.name)
  switch (added.kind) {
    case 'added':
      return `added ${name} ${fingerprintOf(contact.key)}\n`
    case 'unchanged':
      return `${name} is known already, just so\n`
    case 'changed': {
      const changes = added.changes.map(({ what, before, after }) => `  ${what}: ${sanitizeLine(before)} → ${sanitizeLine(after)}\n`)
      return `${name} has a newer card${changes.length === 0 ? ', which says the same' : ':'}\n${changes.join('')}`
    }
  }
}

function list(book: Book, values: Values, io: Io): number {
  const contacts = book.list()
  if (values.json === true) {
    for (const known of contacts) io.stdout.write(`${formatJson(describe(known))}\n`)
    return EXIT.ok
  }
  if (contacts.length === 0) io.stderr.write('asfaleia: no contacts yet; `asfaleia contact add CARD` takes one up\n')
  const width = Math.max(0, ...contacts.map(({ name }) => name.length))
  for (const known of contacts) {
    io.stdout.write(
      `${known.name.padEnd(width)}  ${fingerprintOf(known.key)}  ${known.verified === undefined ? 'not verified' : 'verified'}\n`,
    )
  }
  return EXIT.ok
}

function show(known: Known, values: Values, io: Io): number {
  const { card } = known
  if (values.link === true) {
    if (card === undefined) throw new CliError(`${known.name} gave no card, but a key alone`)
    io.stdout.write(`${card.link}\n`)
    return EXIT.ok
  }
  if (values.json === true) {
    io.stdout.write(`${formatJson(describe(known))}\n`)
    return EXIT.ok
  }
  const rows: readonly (readonly [string, string | undefined])[] = [
    ['name', known.name],
    ['called', card === undefined || card.name === known.name ? undefined : `${card.name} (by their own card)`],
    ['fingerprint', fingerprintOf(known.key)],
    ['key', formatKey(known.key)],
    ...known.relays.map((relay) => ['relay', relay] as const),
    ['encrypt', known.recipient],
    ['card', card === undefined ? 'none: the key came alone' : `of ${formatTime(card.time)}`],
    ['added', known.added === undefined ? undefined : formatTime(known.added)],
    ['verified', known.verified === undefined ? 'no' : formatTime(known.verified)],
    ['receipts', known.receipts ? undefined : 'no'],
  ]
  for (const [label, value] of rows) if (value !== undefined) io.stdout.write(`${`${label}:`.padEnd(13)}${sanitizeLine(value)}\n`)
  return EXIT.ok
}

async function verify(book: Book, home: Home, name: string, values: Values, io: Io): Promise<number> {
  const known = book.need(name)
  const own = await home.readCard()
  if (own === undefined)
    throw new CliError('there is no card of yours to compare with', { hint: '`asfaleia me --name NAME --relay ADDRESS` makes it' })
  const words = await safetyWords(own.key, known.key)
  if (values.confirm === true) {
    const verified = await book.verify(known)
    io.stdout.write(values.json === true ? `${formatJson({ words, ...describe(verified) })}\n` : `${verified.name} is verified\n`)
    return EXIT.ok
  }
  if (values.json === true) {
    io.stdout.write(`${formatJson({ words, ...describe(known) })}\n`)
    return EXIT.ok
  }
  io.stdout.write(`${[0, 4, 8].map((at) => `  ${words.slice(at, at + 4).join(' ')}\n`).join('')}\n`)
  io.stdout.write(beside(['you', ...randomart(own.key)], [known.name, ...randomart(known.key)]))
  io.stderr.write(
    `asfaleia: read the words to each other, where you know the voice or the face; if all are the same, \`asfaleia contact verify ${sanitizeLine(quote(known.name))} --confirm\`\n`,
  )
  return EXIT.ok
}

/** Two blocks of lines side by side. */
function beside(left: readonly string[], right: readonly string[]): string {
  const width = Math.max(...left.map(({ length }) => length))
  const height = Math.max(left.length, right.length)
  const lines = Array.from({ length: height }, (_, row) => `  ${(left[row] ?? '').padEnd(width)}   ${right[row] ?? ''}`.trimEnd())
  return `${lines.join('\n').trimEnd()}\n`
}

/** What --json says of a contact. */
function describe(known: Known): object {
  const { name, key, relays, recipient, card, added, verified, receipts, path } = known
  return {
    name,
    fingerprint: fingerprintOf(known.key),
    key: formatKey(key),
    relays,
    ...(recipient !== undefined && { encrypt: recipient }),
    ...(card !== undefined && { card: { name: card.name, time: formatTime(card.time), link: card.link } }),
    ...(added !== undefined && { added: formatTime(added) }),
    verified: verified === undefined ? false : formatTime(verified),
    receipts,
    file: path,
  }
}

/** As a shell takes it for one word. */
function quote(name: string): string {
  return /^[\p{L}\p{N}_.@+-]+$/u.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`
}
