/** `asfaleia contact`: stores, shows and changes contacts, and shows safety words to compare. */
import { fingerprintOf } from '../../client/format/field.ts'
import { randomart, safetyWords } from '../../client/format/safety.ts'
import { readCommandLine } from '../program/arguments.ts'
import { checkRelays } from '../profile/address.ts'
import { type Added, type Book, type Introduction, type Known } from '../profile/book.ts'
import { announce } from '../owner/announce.ts'
import { type Visit, visitRequests } from '../owner/visit.ts'
import type { Blocked } from '../profile/blocked.ts'
import { warnOf } from '../disk/folder.ts'
import { type Home, HOME_VARIABLES, needHome } from '../profile/home.ts'
import type { Rules } from '../profile/rules.ts'
import { readIntroduction } from '../profile/introduction.ts'
import { openProfile } from '../profile/profile.ts'
import type { ContactRequest } from '../profile/requests.ts'
import { appear } from '../talk/appear.ts'
import { acceptBeginning, removeContact, renewAddress } from '../talk/keys.ts'
import { describeContact, showContact, showIn } from '../talk/show-contact.ts'
import { accept, choosePerson, listRequests, remindToVerify, tellOf, unblock } from '../talk/decision.ts'
import { needRequest, waitingOf } from '../talk/request.ts'
import { CliError, UsageError } from '../program/error.ts'
import { EXIT } from '../program/exit.ts'
import type { Io } from '../program/io.ts'
import { alignColumn, beside, formatJson, quoteWord, sanitizeLine } from '../program/show.ts'
import type { Page } from '../program/page.ts'

export const page = {
  name: 'contact',
  shared: { json: { about: 'print one JSON object a line' } },
  variables: HOME_VARIABLES,
  text: 'Stores the people you write to, and checks their keys. CONTACT is a name that `asfaleia contact list` shows.',
  verbs: {
    add: {
      summary: 'store a contact card, or a newer card of a contact',
      words: ['CARD'],
      options: {
        name: { value: 'NAME', about: 'what you call them, instead of the name on the card' },
        relay: { value: 'ADDRESS', about: 'where they receive, for a key without a card', multiple: true },
        'new-inbox': { about: 'accept that a newer card of a contact names another inbox for first messages, or none' },
      },
      text: `
        CARD is a card as \`asfaleia me\` prints it, its link in quotes, a .pub file, a line of authorized_keys in quotes, or a file that
        contains one of these; \`-\` reads standard input.

        A newer card of a contact replaces the older one, and the command prints what changed. A card with another key for the name of a
        contact is refused, and a card with another inbox without --new-inbox: ask them whether it is theirs.`,
      examples: [["store Bob's card from its link", "asfaleia contact add 'asfaleia:card/2:name=Bob,key=…'"]],
    },
    list: { summary: 'list all contacts', examples: [['list all contacts', 'asfaleia contact list']] },
    show: {
      summary: 'show a contact',
      words: ['CONTACT'],
      options: { link: { about: 'show the card of the contact as a link, to pass it on' } },
      examples: [["show the link to Bob's card", 'asfaleia contact show bob --link']],
    },
    rename: {
      summary: 'change what you call a contact',
      words: ['CONTACT', 'NEW'],
      examples: [['call Bob another name', "asfaleia contact rename bob 'Bob from work'"]],
    },
    requests: {
      summary: 'list the people who want to talk to you',
      text: `
        Lists contact requests with their texts: messages of people who are not in your contacts. At most 64 people and 1 MiB wait,
        for 30 days; further requests stay at the relay.`,
      examples: [['list the requests', 'asfaleia contact requests']],
    },
    accept: {
      summary: 'make the sender of a request a contact, or believe a contact who began anew',
      words: ['PERSON'],
      options: { name: { value: 'NAME', about: 'what you call them, instead of the name on their card' } },
      text: `
        PERSON is the name or the fingerprint that \`asfaleia contact requests\` shows. To answer with \`asfaleia send\` accepts, too.

        If a message says that a contact lost all keys, and does not prove it, your client does not answer to its keys: another person
        may have the contact's SSH key. Ask the contact on a call. If it is true, this command accepts the new keys.`,
      examples: [['accept the request of Bob', 'asfaleia contact accept bob']],
    },
    renew: {
      summary: 'give a contact a new address',
      words: ['CONTACT'],
      text: `
        The contact gets the new address with your next message. Your client reads the old one for 22 days more. Use it if strangers
        write to the address of the contact; your client then does so by itself, too, at most once a day.`,
      examples: [['give Bob a new address', 'asfaleia contact renew bob']],
    },
    ignore: {
      summary: 'delete a request; the person can write again',
      words: ['PERSON'],
      examples: [['delete the request of Bob', 'asfaleia contact ignore bob']],
    },
    block: {
      summary: 'drop everything that a person sends',
      words: ['PERSON'],
      text: `
        PERSON is a contact, or the sender of a request. Your client drops their messages and sends them no receipts. Neither they nor
        a relay learn of it. \`asfaleia contact list\` shows whom you block.`,
      examples: [['block Bob', 'asfaleia contact block bob']],
    },
    unblock: {
      summary: 'receive messages of a person again',
      words: ['PERSON'],
      examples: [['unblock Bob', 'asfaleia contact unblock bob']],
    },
    remove: {
      summary: 'delete a contact',
      words: ['CONTACT'],
      text: `
        Your client gives up the address that the contact writes to, erases the one-time keys for this contact, and withdraws messages
        that are not confirmed. The address and the keys of a member of one of your groups stay.`,
      examples: [['delete Bob', 'asfaleia contact remove bob']],
    },
    mute: { summary: 'get no notifications of a contact', words: ['CONTACT'], examples: [['mute Bob', 'asfaleia contact mute bob']] },
    unmute: { summary: 'be notified again', words: ['CONTACT'], examples: [['end that', 'asfaleia contact unmute bob']] },
    verify: {
      summary: 'compare safety words with a contact',
      words: ['CONTACT'],
      options: { confirm: { about: 'mark the contact as verified, because the words are the same' } },
      text: `
        Shows twelve words. Read them to each other, for example on the phone. If both of you see the same words, no one has exchanged
        the keys between you.`,
      examples: [
        ['show the words', 'asfaleia contact verify bob'],
        ['confirm that they are the same', 'asfaleia contact verify bob --confirm'],
      ],
    },
  },
  examples: [
    ["store Bob's card from its link", "asfaleia contact add 'asfaleia:card/2:name=Bob,key=…'"],
    ['compare safety words with Bob', 'asfaleia contact verify bob'],
    ['accept the contact request of Bob', 'asfaleia contact accept bob'],
  ],
} as const satisfies Page

interface Values {
  readonly name?: string
  readonly relay?: readonly string[]
  readonly 'new-inbox'?: true
  readonly link?: true
  readonly confirm?: true
  readonly json?: true
}

export async function run(argv: string[], io: Io): Promise<number> {
  const given = readCommandLine(argv, io, page)
  if (given === undefined) return EXIT.ok
  const home = needHome(io.env)
  const book = await home.openBook((await home.readSettings()).relays)
  const blocked = await home.openBlocked()
  warnOf(book, io)
  const rules = await home.openRules()
  const { values } = given
  const visit = <T>(work: (desk: Visit) => Promise<T>): Promise<T> =>
    visitRequests(home, io.env, async () => (await openProfile(io, {})).identity, work)
  const find = async (word: string): Promise<ContactRequest> =>
    needRequest(waitingOf(await visit((desk) => desk.list()), book, blocked), word)
  const act = async (): Promise<number> => {
    switch (given.verb) {
      case 'add':
        return add(book, home, given.words[0], values, io)
      case 'list':
        return await list(book, blocked, rules, values, io)
      case 'show':
        return await showContact(book, book.need(given.words[0]), home, values, io)
      case 'rename': {
        const [name, to] = given.words
        return report(book, await book.rename(book.need(name), to, await findGroups(home)), 'renamed to', values, io)
      }
      case 'remove': {
        const known = book.need(given.words[0])
        await removeContact(known, book, home, io)
        return report(book, known, 'removed', values, io)
      }
      case 'mute':
      case 'unmute':
        await rules.setMuted(fingerprintOf(book.need(given.words[0]).key), given.verb === 'mute')
        return report(book, book.need(given.words[0]), given.verb === 'mute' ? 'muted' : 'no longer muted:', values, io)
      case 'verify':
        return verify(book, home, given.words[0], values, io)
      case 'requests':
        return listRequests(book, waitingOf(await visit((desk) => desk.list()), book, blocked), values.json === true, io)
      case 'accept': {
        const [word] = given.words
        const waiting = waitingOf(await visit((desk) => desk.list()), book, blocked)
        const contact = given.values.name === undefined ? book.find(fingerprintOf(choosePerson(word, book, waiting).key)) : undefined
        if (contact === undefined)
          return report(book, await accept(needRequest(waiting, word), given.values.name, book, home, io), 'accepted', values, io)
        await acceptBeginning(contact, io)
        return report(book, contact, 'accepted the new keys of', values, io)
      }
      case 'renew': {
        const known = book.need(given.words[0])
        await renewAddress(known, home, io)
        return report(book, known, 'your next message brings a new address to', values, io)
      }
      case 'ignore': {
        const { card } = await find(given.words[0])
        await visit((desk) => desk.ignore(fingerprintOf(card.key)))
        return tellOf(card, 'ignored', book, values.json === true, io)
      }
      case 'block': {
        const [word] = given.words
        const { key, name } = choosePerson(word, book, waitingOf(await visit((desk) => desk.list()), book, blocked))
        await blocked.add(fingerprintOf(key), name)
        return tellOf({ key, name }, 'blocked', book, values.json === true, io)
      }
      case 'unblock':
        return unblock(blocked, book, given.words[0], values.json === true, io)
    }
  }
  const code = await act()
  if (given.verb !== 'list' && given.verb !== 'show' && given.verb !== 'requests') await announce(home, io.env)
  return code
}

function report(book: Book, known: Known, done: string, values: Values, io: Io): number {
  io.stdout.write(values.json === true ? `${formatJson(describeContact(known))}\n` : `${done} ${showIn(book, known)}\n`)
  return EXIT.ok
}

async function add(book: Book, home: Home, word: string, values: Values, io: Io): Promise<number> {
  const given = await readIntroduction(word, io)
  const { key } = given.kind === 'card' ? given.card : given
  const own = await home.readCard()
  if (own !== undefined && fingerprintOf(own.key) === fingerprintOf(key)) throw new CliError('this is your own key')
  const added = await book.add(introduce(given, book, values), values.name, await findGroups(home), values['new-inbox'] === true)
  if (values.json === true) {
    const changes = added.kind === 'changed' ? { changes: added.changes } : {}
    io.stdout.write(`${formatJson({ [added.kind]: true, ...describeContact(added.contact), ...changes })}\n`)
  } else {
    io.stdout.write(tell(added, book))
  }
  if (added.kind !== 'added') return EXIT.ok
  remindToVerify(added.contact.name, io)
  // They may write soon, and a relay that restarted has lost the bundle.
  if (own !== undefined) await appear(own, undefined, io)
  return EXIT.ok
}

/** Returns whether a group has a name. */
async function findGroups(home: Home): Promise<(name: string) => boolean> {
  const groups = await home.openGroups()
  return (name) => groups.like(name) !== undefined
}

function introduce(given: Awaited<ReturnType<typeof readIntroduction>>, book: Book, values: Values): Introduction {
  if (given.kind === 'card') {
    if (values.relay !== undefined)
      throw new UsageError('--relay does not go together with a card, which names the relays', {
        hint: 'use --relay for a key without a card',
      })
    return given
  }
  const { key } = given
  if (!key.canDecrypt) {
    throw new CliError('this key can only sign, so messages cannot be encrypted to it', {
      hint: 'ask for their card, which names an encryption key',
    })
  }
  if (values.relay === undefined && book.find(fingerprintOf(key)) === undefined) {
    throw new UsageError('--relay is missing: a key without a card names no relay', { hint: 'add --relay ADDRESS, where they receive' })
  }
  return { key, relays: checkRelays(values.relay ?? []) }
}

function tell(added: Added, book: Book): string {
  const { contact } = added
  const name = showIn(book, contact)
  switch (added.kind) {
    case 'added':
      return `added ${name} ${fingerprintOf(contact.key)}\n`
    case 'unchanged':
      return `${name} is stored already; nothing changed\n`
    case 'changed': {
      const changes = added.changes.map(({ what, before, after }) => `  ${what}: ${sanitizeLine(before)} → ${sanitizeLine(after)}\n`)
      return `${name} has a newer card${changes.length === 0 ? ' with the same content' : ':'}\n${changes.join('')}`
    }
  }
}

async function list(book: Book, blocked: Blocked, rules: Rules, values: Values, io: Io): Promise<number> {
  const contacts = book.list()
  const strangers = blocked.list().filter(({ fingerprint }) => book.find(fingerprint) === undefined)
  if (values.json === true) {
    for (const known of contacts) {
      const isBlocked = blocked.has(fingerprintOf(known.key))
      io.stdout.write(`${formatJson({ ...describeContact(known), ...(isBlocked && { blocked: true }) })}\n`)
    }
    for (const { name, fingerprint } of strangers) io.stdout.write(`${formatJson({ called: name, fingerprint, blocked: true })}\n`)
    return EXIT.ok
  }
  if (contacts.length === 0) io.stderr.write('asfaleia: no contacts yet; `asfaleia contact add CARD` adds one\n')
  const names = contacts.map((known) => showIn(book, known))
  const others = strangers.map(({ name, fingerprint }) => book.show(name, fingerprint))
  const column = await alignColumn([...names, ...others])
  for (const [index, known] of contacts.entries()) {
    const fingerprint = fingerprintOf(known.key)
    const state = known.verified === undefined ? 'not verified' : 'verified'
    const remarks = [state, blocked.has(fingerprint) && 'blocked', rules.isMuted(fingerprint) && 'muted'].filter((each) => each !== false)
    io.stdout.write(`${column[index]}  ${fingerprint}  ${remarks.join(', ')}\n`)
  }
  for (const [index, { fingerprint }] of strangers.entries())
    io.stdout.write(`${column[names.length + index]}  ${fingerprint}  not in your contacts, blocked\n`)
  if (contacts.some((known) => showIn(book, known) !== known.name))
    io.stderr.write('asfaleia: some names could be taken for others; `asfaleia contact rename` gives the contacts other names\n')
  return EXIT.ok
}

async function verify(book: Book, home: Home, name: string, values: Values, io: Io): Promise<number> {
  const known = book.need(name)
  const own = await home.needCard()
  const words = await safetyWords(own.key, known.key)
  if (values.confirm === true) {
    const verified = await book.verify(known)
    io.stdout.write(
      values.json === true ? `${formatJson({ words, ...describeContact(verified) })}\n` : `${showIn(book, verified)} is verified\n`,
    )
    return EXIT.ok
  }
  if (values.json === true) {
    io.stdout.write(`${formatJson({ words, ...describeContact(known) })}\n`)
    return EXIT.ok
  }
  io.stdout.write(`${[0, 4, 8].map((at) => `  ${words.slice(at, at + 4).join(' ')}\n`).join('')}\n`)
  io.stdout.write(beside(['you', ...randomart(own.key)], [showIn(book, known), ...randomart(known.key)]))
  io.stderr.write(
    `asfaleia: read the words to each other, face to face or by a voice that you know. If all are the same: \`asfaleia contact verify ${sanitizeLine(quoteWord(known.name))} --confirm\`\n`,
  )
  return EXIT.ok
}
